/* What the kinds of sockets share: options, and the kernel's view of Unix sockets. */
#ifndef GODWIT_STATE_SOCKETS_H
#define GODWIT_STATE_SOCKETS_H

#include "state/file_kinds.h"

/* Fills s->sock_domain, _type, _protocol and s->detail from our duplicate of the socket. */
int sockets_look(struct file_scan *s, int dup, struct err *err);

/* Saves the options of the socket dup that differ from those of a new socket
 * of the same kind.  The caller frees *ret. */
int sockets_capture_options(const struct file_scan *s, int dup, struct file_option **ret,
			    size_t *ret_n, struct err *err);
void sockets_codec_options(struct codec *c, struct file_option **v, size_t *n);
/* Are they options that sockets_capture_options could have saved? */
bool sockets_options_are_possible(const struct file_option *v, size_t n);
bool sockets_has_option(const struct file_option *v, size_t n, int level, int name);
/* Calls that set them on fd. */
void sockets_restore_options(struct file_restore *fr, const struct open_file *f, int fd,
			     const struct file_option *v, size_t n);
/* One call: setsockopt(fd, level, name, value). */
void sockets_set_int(struct file_restore *fr, const char *why, int fd, int level, int name,
		     int value);

/* --- Unix sockets: unix_pairs.c, unix_named.c, unix_unread.c, unix_queue.c --- */

#define UNIX_MESSAGE_MAX (192u << 10) /* bytes: fits in a batch of a syscall program */

/* Of a Unix socket that may have something unread, or NULL. */
struct unix_queue *unix_queue_of(const struct open_file *f);
/* Reads what is unread in the file of that index, if it is a Unix socket and time to: 1, else 0. */
int unix_queue_read(struct file_scan *s, uint32_t index, struct err *err) __must_check;
int unix_pair_read(struct file_scan *s, uint32_t index, struct err *err) __must_check;
int unix_named_read(struct file_scan *s, uint32_t index, struct err *err) __must_check;
/* Are there sockets with a name that have not read all?  Their options are set last then. */
bool unix_queue_is_any(const struct file_table *t);
/* Sends to them, and sets the options of all that have a name, when all descriptors are there. */
int unix_queue_restore(struct file_restore *fr, struct err *err) __must_check;
/* struct sockaddr_un of a socket's name, for bind(2) and sendto(2); returns its length. */
struct sockaddr_un;
unsigned unix_named_address(const struct open_file *f, struct sockaddr_un *ret);
bool unix_named_is_abstract(const struct open_file *f);
/* Copies sun_path of an address of so many bytes as unix_named.name is. */
int unix_named_copy(const struct sockaddr_un *a, size_t len, void **ret, size_t *ret_len,
		    struct err *err) __must_check;
/* Sends what both ends have not read yet, and sets what is set afterwards. */
void unix_pair_send(struct file_restore *fr, const struct open_file *f);
/* The unread messages of the file of that index, of which dup is ours; new files in them are
 * added to the table. */
int unix_unread_capture(struct file_scan *s, uint32_t index, int dup, struct err *err) __must_check;
/* What `to` has not read yet is sent by its other end, sender. */
void unix_unread_send(struct file_restore *fr, const struct open_file *to, int sender);
/* Sends the message, also of no bytes, from a socket of the program's to that address, or to the
 * other end of a pair (len 0). */
void unix_message_send(struct file_restore *fr, const struct file_message *m, const char *why,
		       int sender, const struct sockaddr_un *to, unsigned len);
/* The buffer for sending of a socket of that type that nobody has changed. */
void unix_usual_room(struct file_restore *fr, const struct open_file *f, int fd, uint32_t type);
void unix_queue_done(struct unix_queue *q);

/* Of the socket with that inode in the target's network namespace.  0, -ENOENT, or -errno. */
int sockets_unix_diag(const struct file_scan *s, uint64_t ino, struct unix_diag *ret);

/* Is the socket, of which dup is ours, in a multicast group? */
bool sockets_is_in_a_group(const struct file_scan *s, int dup);

/* "127.0.0.1:80", "[::1]:80"; returns out. */
const char *sockets_addr_text(const void *addr, char *out, size_t size);

#endif
