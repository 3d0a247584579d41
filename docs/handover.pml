/*
 * The handover of docs/PROTOCOL.md, section 4, for spin:
 *
 *     spin -run -safety docs/handover.pml
 *     spin -run -safety -DWITHOUT_HOLD docs/handover.pml        finds two copies
 *
 * Everybody may die at any step, and the connection may be cut; whoever settles asks on
 * a new connection, until there is an answer.  Checked: never two copies run, and when
 * all is settled exactly one does (not none).
 */
mtype = { Ready, Commit, Done, Refuse };        /* frames */
mtype = { None, Asked };                        /* journal of the source */
mtype = { Jready, Jgoing, Jtaken, Jnever, Jended }; /* journal of the destination */
mtype = { Stopped, Held, Runs, Gone };          /* a copy of the program */

chan to_target = [2] of { mtype };
chan to_source = [2] of { mtype };

mtype source_copy = Stopped; /* by ptrace */
mtype target_copy = Stopped; /* half-built */
mtype source_journal = None;
mtype target_journal = Jready;
bool cut = false;            /* the connection is no more */
bool target_lock = false;    /* of its journal */
bool source_dead = false, target_dead = false;
bool waiter_dead = false;    /* who waits for the half-built process */
bool source_done = false;    /* nothing is left to be settled */
bool unknown = false;        /* a person has to say */

#define two_copies (source_copy == Runs && target_copy == Runs)

/* The kernel: what a death of ours means for the program. */
inline source_dies()
{
	atomic {
		/* A tracer's death lets the program run, unless it is in a group stop. */
		if
		:: source_copy == Stopped -> source_copy = Runs
		:: else
		fi;
		cut = true;
		source_dead = true;
		/* Without a record there is nothing to be settled: the program runs. */
		source_done = (source_journal == None)
	}
}

inline target_dies()
{
	atomic {
		if
		:: target_copy == Stopped -> target_copy = Gone /* EXITKILL */
		:: else
		fi;
		cut = true;
		target_lock = false;
		target_dead = true
	}
}

active proctype connection()
{
	if
	:: cut = true
	:: skip
	fi
}

active proctype source()
{
	/* S1: waits for READY */
	do
	:: to_source ? Ready -> break
	:: cut && empty(to_source) -> goto stays
	:: source_dies(); goto dead
	od;
S2:
	if
	:: source_journal = Asked
	:: source_dies(); goto dead
	fi;
S3:
	if
#ifdef WITHOUT_HOLD
	:: skip
#else
	:: source_copy = Held
#endif
	:: source_dies(); goto dead
	fi;
S4:
	if
	:: !cut -> to_target ! Commit
	:: cut
	:: source_dies(); goto dead
	fi;
	do
	:: to_source ? Done -> goto taken
	:: to_source ? Refuse -> goto stays
#ifdef RESUME_WHEN_CUT
	:: cut && empty(to_source) -> goto stays
#else
	:: cut && empty(to_source) -> goto asks
#endif
	:: source_dies(); goto dead
	od;
taken:
	if
	:: atomic { source_copy = Gone; source_journal = None; source_done = true }
	:: source_dies(); goto dead
	fi;
	goto end;
stays:
	atomic { source_copy = Runs; source_journal = None; source_done = true; cut = true };
	goto end;
asks:
	/* Its guardian may ask itself, or die: either way it is the settler from here on. */
	atomic { cut = true; source_dead = true };
dead:
end:
	skip
}

active proctype target()
{
	if
	:: !cut -> to_source ! Ready
	:: cut -> goto gives_up
	:: target_dies(); goto end
	fi;
	do
	:: to_target ? Commit -> break
	:: cut && empty(to_target) -> goto gives_up
	:: target_dies(); goto end
	od;
	/* D4 */
	atomic { !target_lock -> target_lock = true };
	if
#ifdef WITHOUT_LOOK
	:: true -> target_journal = Jgoing
#else
	:: target_journal == Jready -> target_journal = Jgoing
	:: target_journal != Jready -> target_lock = false; goto gives_up
#endif
	:: target_dies(); goto end
	fi;
	if
	:: target_copy = Runs
	:: target_dies(); goto end
	fi;
	if
	:: atomic { target_journal = Jtaken; target_lock = false }
	:: target_dies(); goto end
	fi;
	if
	:: !cut -> to_source ! Done
	:: cut
	:: target_dies()
	fi;
	goto end;
gives_up:
	atomic { !target_lock -> target_lock = true };
	if
	:: target_journal == Jready -> target_journal = Jnever
	:: else
	fi;
	atomic { target_copy = Gone; target_lock = false };
	if
	:: !cut -> to_source ! Refuse
	:: cut
	fi;
end:
	skip
}

/* Who waits for the half-built process notes that it was killed; it may die, too. */
active proctype waiter()
{
	if
	:: target_dead && target_copy == Gone && target_journal == Jgoing ->
		atomic { !target_lock -> if
		:: target_journal == Jgoing -> target_journal = Jended
		:: else
		fi }
	:: waiter_dead = true
	:: timeout
	fi
}

/* The source's command, the process in the background, or godwit settle: asks when the
 * source's guardian is out of the way. */
active proctype settler()
{
	do
	:: source_done -> break
	:: source_dead && source_journal == Asked ->
		atomic {
			!target_lock;
			if
#ifdef WITHOUT_TOMBSTONE
			:: target_journal == Jready -> source_copy = Runs; source_journal = None; source_done = true
#else
			:: target_journal == Jready -> target_journal = Jnever
#endif
			:: target_journal == Jnever || target_journal == Jended ->
				source_copy = Runs; source_journal = None; source_done = true
			:: target_journal == Jtaken ->
				source_copy = Gone; source_journal = None; source_done = true
			:: target_journal == Jgoing && target_copy == Runs ->
				source_copy = Gone; source_journal = None; source_done = true
			:: target_journal == Jgoing && target_copy == Gone && waiter_dead ->
				unknown = true; break
			fi
		}
	od
}

active proctype watch()
{
	do
	:: atomic { two_copies -> assert(false) }
	:: atomic { timeout -> assert(unknown || ((source_copy == Runs) + (target_copy == Runs) == 1)); break }
	od
}
