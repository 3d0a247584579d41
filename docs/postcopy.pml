/*
 * Post-copy, docs/PROTOCOL.md, section 6, for spin, from the moment at which READY was said
 * and the source's copy is in its group stop (before that: handover.pml):
 *
 *     spin -run -E -safety -noclaim docs/postcopy.pml
 *     spin -DTROUBLES=2 -run -a -f -DNFAIR=3 docs/postcopy.pml             it comes to an end
 *     spin -DWITHOUT_KEEPER -run -E -safety -noclaim docs/postcopy.pml     finds a lost page
 *
 * Whoever has the source's record, the pager and its keeper may die at any step; the
 * connection may be cut; the program may end; a person may end the source's copy: three
 * times in all.  Then all is alive again, and the wire is up.  Checked:
 *
 * - never two copies run;
 * - the source ends its copy, the store, only when no page is missing any more;
 * - nobody reads zeros in place of a page, unless pager and keeper died before the one
 *   could replace the other; and then the copy is not ended, but the outcome is unknown;
 * - a page that was written is not put again;
 * - in the end all is settled: all pages are there, or the program has ended, or it never
 *   ran there and does here; or a person has ended the store, or is asked.
 *
 * Not in it: which pages are needed first (NEED), how many frames are under way (GOT),
 * children of the program, memory that moves or is dropped, signals.  Who waits for the
 * half-built process does not die (handover.pml).
 */
#ifndef TROUBLES
#define TROUBLES 3 /* of all kinds together */
#endif
#define PAGES 2
#define FULL  3 /* all of them, as bits */

mtype = { Commit, Done, Refuse, Want, Page, All };              /* frames */
mtype = { Jready, Jgoing, Jlacks, Jtaken, Jnever, Jended };     /* journal of the destination */
mtype = { Held, Built, Runs, Gone, Ended };                     /* a copy of the program */
mtype = { Missing, Old, Written };                              /* a page over there */

chan to_target = [3] of { mtype, byte };
chan to_source = [3] of { mtype, byte };

mtype source_copy = Held;
mtype target_copy = Built; /* dies with the guardian */
mtype journal = Jready;
byte lock = 255;       /* of the journal: who has it */
bool linked = true;    /* the connection is there */
bool fresh = false;    /* it waits at the pager's door */

/* Of pager and keeper, 0 and 1; the guardian is 0. */
bool alive[2] = { true, true };
bool killed[2];        /* it died, and the other has not seen that yet */
byte pager = 0;        /* who has the conversation; 255: nobody */
bool both = false;     /* pager and keeper died within the same moment */
/* In memory that they share: */
bool going = false, all_put = false;
byte here = 0;         /* pages that were put */

mtype page[PAGES] = Missing; /* the truth of the kernel */

byte troubles = TROUBLES;
bool settled = false;  /* the source has nothing to do any more */
bool ended_by_hand = false, lost = false; /* the store, by a person; and that was told */
bool unknown = false;  /* a person is asked */

#define all_here  (page[0] != Missing && page[1] != Missing)
#define is_over   (target_copy == Ended)
#define nobody    (!alive[0] && !alive[1])
#define two_copies (source_copy == Runs && target_copy == Runs)

ltl ends { <> settled }

/* --- the source: its guardian, its command, or who settles: one at a time has the record --- */

/* What it knew is forgotten; another one takes its place. */
#define source_dies troubles > 0 -> troubles--; linked = false; want = 0

active proctype source()
{
	byte want = 0;

	/* S4 */
	if
	:: linked -> to_target ! Commit, 0
	:: !linked
	:: atomic { source_dies }; goto asks
	fi;
	do
	:: atomic { to_source ? Done, _ -> break }
	:: atomic { to_source ? Refuse, _ -> goto stays }
	:: !linked && empty(to_source) -> goto asks
	:: atomic { source_dies }; goto asks
	od;
serves: /* S5' */
#ifdef END_AT_COMMIT
	goto taken;
#endif
	do
	:: atomic { to_source ? Want, want -> break }
	:: !linked && empty(to_source) -> goto asks
	:: atomic { source_dies }; goto asks
	od;
	do
	:: atomic { to_source ? All, _ -> goto taken }
	:: atomic { linked && want & 1 ->
		if
		:: source_copy == Held -> to_target ! Page, 0; want = want & 2
		:: else -> goto is_lost
		fi }
	:: atomic { linked && want & 2 ->
		if
		:: source_copy == Held -> to_target ! Page, 1; want = want & 1
		:: else -> goto is_lost
		fi }
	:: !linked && empty(to_source) -> goto asks
	:: atomic { source_dies }; goto asks
	od;

asks: /* a new connection takes the place of the one before; its question decides */
	if
	:: atomic { lock == 255 && journal == Jready -> journal = Jnever }; goto asks
	:: atomic { lock == 255 && (journal == Jnever || journal == Jended) -> goto stays }
	:: atomic { lock == 255 && journal == Jtaken -> goto taken }
	:: atomic { lock == 255 && (journal == Jlacks || journal == Jgoing && target_copy == Runs) ->
		do
		:: to_target ? _, _
		:: to_source ? _, _
		:: empty(to_target) && empty(to_source) -> break
		od;
		want = 0;
		if
		:: nobody -> unknown = true; goto end
		:: else -> linked = true; fresh = true; goto serves
		fi }
	fi;
taken: /* S6' */
	atomic {
		assert(all_here || is_over);
		source_copy = Gone;
		goto end
	};
stays:
	atomic {
		if
		:: source_copy == Held -> source_copy = Runs
		:: else -> lost = true
		fi;
		assert(!two_copies);
		goto end
	};
is_lost:
	lost = true;
end:
	atomic {
		/* Only a person may end it now. */
		assert(!unknown || both && (source_copy == Held || ended_by_hand));
		assert(!lost || ended_by_hand);
		assert(lost || unknown || (source_copy == Runs) + (target_copy == Runs || is_over) == 1);
		settled = true
	}
}

/* --- the destination: pager and keeper --- */

inline closes()
{
	/* The last one's end is the end of the connection. */
	if
	:: nobody -> linked = false; fresh = false
	:: else
	fi
}

inline dies()
{
	troubles > 0 && alive[me] -> troubles--;
	alive[me] = false;
	killed[me] = true;
	both = both || killed[1 - me];
	if
	:: lock == me -> lock = 255
	:: else
	fi;
	if
	:: pager == me ->
		pager = 255;
		/* What has not been accepted stays at the door, as long as anybody has that. */
		linked = linked && fresh && alive[1 - me];
		if
		:: target_copy == Built -> target_copy = Gone /* EXITKILL */
		:: else
		fi
	:: else
	fi;
	closes();
	goto born
}

inline leaves()
{
	alive[me] = false;
	closes()
}

inline makes_another()
{
	killed[1 - me] = false;
#ifndef WITHOUT_ANOTHER
	alive[1 - me] = true
#endif
}

inline accepts()
{
	fresh = false;
	to_source ! Want, FULL - here
}

proctype holder(byte me)
{
	byte p;

	if
	:: me == 0 -> goto guardian
	:: else
	fi;
born:
	alive[me] && pager != me ->
	/* The keeper. */
	if
	:: atomic { pager == 255 && !alive[1 - me] && alive[me] -> skip }
	:: atomic { all_put && alive[me] -> leaves(); goto born }
	:: atomic { dies() }
	:: !alive[me] -> goto born
	fi;
	if
	:: atomic { !going || all_put -> leaves(); goto born }
	:: going && !all_put
	fi;
	if
	:: atomic { makes_another(); pager = me }
	:: atomic { dies() }
	fi;
	if
	:: atomic { lock == 255 -> lock = me }
	:: atomic { dies() }
	fi;
	if
	:: atomic { journal == Jgoing && target_copy != Runs -> all_put = true; lock = 255; leaves(); goto stop }
	:: atomic { journal == Jgoing && target_copy == Runs -> journal = Jlacks; lock = 255 }
	:: atomic { journal != Jgoing -> lock = 255 }
	:: atomic { dies() }
	fi;
	goto works;

guardian: /* D3' */
	if
	:: atomic { to_target ? Commit, _ -> skip }
	:: !linked && empty(to_target) -> goto gives_up
	:: atomic { dies() }
	fi;
	/* D4 */
	if
	:: atomic { lock == 255 -> lock = me }
	:: atomic { dies() }
	fi;
	if
	:: atomic { journal == Jready -> journal = Jgoing }
	:: atomic { journal == Jready && linked -> lock = 255; goto gives_up } /* something failed */
	:: atomic { journal != Jready -> lock = 255; goto gives_up }
	:: atomic { dies() }
	fi;
	if
	:: going = true
	:: atomic { dies() }
	fi;
	/* D5' */
	if
	:: atomic { target_copy = Runs; assert(!two_copies) }
	:: atomic { dies() }
	fi;
	if
#ifdef WITHOUT_LACKS
	:: atomic { journal = Jtaken; lock = 255 }
#else
	:: atomic { journal = Jlacks; lock = 255 }
#endif
	:: atomic { dies() }
	fi;
	if
	:: atomic { linked && !fresh -> to_source ! Done, 0 }
	:: !linked || fresh
	:: atomic { dies() }
	fi;
	if
	:: atomic { linked && !fresh -> accepts() }
	:: !linked || fresh
	:: atomic { dies() }
	fi;

works: /* D6' */
	do
	:: here == FULL || target_copy == Ended -> break
#ifdef WITHOUT_WANT
	:: atomic { linked && fresh -> fresh = false }
#else
	:: atomic { linked && fresh -> accepts() }
#endif
	:: atomic { !fresh && nempty(to_target) -> to_target ? Page, p };
		if
#ifdef PUT_AGAIN
		:: page[p] = Old
#else
		:: atomic { page[p] == Missing -> page[p] = Old }
		:: page[p] != Missing
#endif
		:: atomic { dies() }
		fi;
		if
		:: atomic { here = here | (1 << p); p = 0 }
		:: atomic { dies() }
		fi
	:: atomic { killed[1 - me] -> makes_another() }
	:: atomic { dies() }
	od;
	/* D7' */
	if
	:: atomic { lock == 255 -> lock = me }
	:: atomic { dies() }
	fi;
	if
	:: atomic { journal = Jtaken; lock = 255 }
	:: atomic { dies() }
	fi;
	if
	:: all_put = true
	:: atomic { dies() }
	fi;
	/* The keeper ends, and with it the userfaultfd. */
	!alive[1 - me];
	if
	:: atomic { linked && !fresh -> to_source ! All, 0; alive[me] = false }
	:: atomic { !linked || fresh -> linked = false; fresh = false; alive[me] = false }
	:: atomic { dies() }
	fi;
	goto stop;

gives_up:
	atomic { lock == 255 -> if
	:: journal == Jready -> journal = Jnever
	:: else
	fi;
	target_copy = Gone; alive[me] = false; pager = 255;
	if
	:: linked -> to_source ! Refuse, 0
	:: else
	fi };
stop:
	skip
}

/* Who waits for the half-built process. */
active proctype waiter()
{
	if
	:: atomic { target_copy == Gone && journal == Jgoing && lock == 255 -> journal = Jended }
	:: atomic { target_copy == Ended && (journal == Jgoing || journal == Jlacks) && lock == 255 -> journal = Jtaken }
	:: settled
	fi
}

/* --- the program, over there: it needs a page, and writes to it --- */

proctype thread(byte p)
{
	if
	:: atomic { target_copy == Runs -> skip }
	:: settled -> goto end
	fi;
	if
	:: atomic { page[p] != Missing -> page[p] = Written }
	:: atomic { target_copy == Runs && page[p] == Missing && nobody ->
		assert(both); /* else it has read zeros for nothing */
		goto end }
	:: target_copy != Runs -> goto end
	:: settled && page[p] == Missing -> goto end
	fi;
	if
	:: atomic { page[p] == Old -> assert(false) } /* what it wrote is gone */
	:: settled || target_copy != Runs
	fi;
end:
	skip
}

/* --- what happens to them --- */

active proctype wire()
{
	do
	:: atomic { troubles > 0 && linked -> troubles--; linked = false; fresh = false }
	:: break
	od
}

active proctype fate()
{
	if
	:: atomic { troubles > 0 && target_copy == Runs -> troubles--; target_copy = Ended }
	:: skip
	fi;
	if
	:: atomic { troubles > 0 && source_copy == Held && !settled ->
		troubles--; source_copy = Gone; ended_by_hand = true }
	:: skip
	fi
}

init
{
	atomic {
#ifdef WITHOUT_KEEPER
		alive[1] = false;
#endif
		run holder(0); run holder(1); run thread(0)
	}
}
