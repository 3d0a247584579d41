/* UTF-8, as far as what others wrote has to be told from it. */
#ifndef GODWIT_BASE_UTF8_H
#define GODWIT_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Length of the sequence at p, 1 to 4, or 0 where there is none (also for overlong
 * forms, surrogates and what is above U+10FFFF).  Never looks behind a NUL. */
size_t utf8_len(const char *p);
/* The character of a sequence of that length. */
uint32_t utf8_char(const char *p, size_t len);

#endif
