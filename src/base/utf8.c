/* UTF-8: see utf8.h. */
#include "base/utf8.h"

size_t utf8_len(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	uint32_t c, min;
	size_t n;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf) {
		n = 2;
		min = 0x80;
	} else if ((p[0] & 0xf0) == 0xe0) {
		n = 3;
		min = 0x800;
	} else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		n = 4;
		min = 0x10000;
	} else {
		return 0;
	}
	for (size_t i = 1; i < n; i++) /* stops at the NUL: that is no continuation byte */
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	c = utf8_char(text, n);
	return c < min || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? 0 : n;
}

uint32_t utf8_char(const char *text, size_t len)
{
	static const unsigned char mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
	const unsigned char *p = (const unsigned char *)text;
	uint32_t c = p[0] & mask[len];

	for (size_t i = 1; i < len; i++)
		c = c << 6 | (p[i] & 0x3f);
	return c;
}
