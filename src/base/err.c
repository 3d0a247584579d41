/* Errors: see err.h. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int fill(struct err *err, int error, enum exit_code code, const char *fmt, va_list ap)
{
	if (error > 0)
		error = -error;
	if (error == 0)
		error = -EIO;
	if (err->error)
		return err->error;
	err->error = error;
	err->exit = code;
	err->hint[0] = '\0';
	vsnprintf(err->what, sizeof(err->what), fmt, ap);
	return error;
}

int err_set(struct err *err, int error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	error = fill(err, error, EXIT_FAILED, fmt, ap);
	va_end(ap);
	return error;
}

int err_sys(struct err *err, int error, const char *fmt, ...)
{
	va_list ap;
	size_t n;

	if (err->error)
		return err->error;
	va_start(ap, fmt);
	error = fill(err, error, EXIT_FAILED, fmt, ap);
	va_end(ap);
	n = strlen(err->what);
	snprintf(err->what + n, sizeof(err->what) - n, ": %s", strerror(-error));
	if (error == -EPERM || error == -EACCES)
		err->exit = EXIT_PERMISSION;
	return error;
}

#define CLASS(name, error, code)                                                                   \
	int name(struct err *err, const char *fmt, ...)                                            \
	{                                                                                          \
		va_list ap;                                                                        \
		int ret;                                                                           \
                                                                                                   \
		va_start(ap, fmt);                                                                 \
		ret = fill(err, error, code, fmt, ap);                                             \
		va_end(ap);                                                                        \
		return ret;                                                                        \
	}

CLASS(err_refuse, -ENOTSUP, EXIT_UNSUPPORTED)
CLASS(err_image, -EBADMSG, EXIT_BAD_IMAGE)
CLASS(err_perm, -EPERM, EXIT_PERMISSION)

int err_hint(struct err *err, const char *fmt, ...)
{
	va_list ap;

	if (err->hint[0])
		return err->error;
	va_start(ap, fmt);
	vsnprintf(err->hint, sizeof(err->hint), fmt, ap);
	va_end(ap);
	return err->error;
}

int err_prepend(struct err *err, const char *fmt, ...)
{
	char head[256], tail[sizeof(err->what)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(head, sizeof(head), fmt, ap);
	va_end(ap);
	memcpy(tail, err->what, sizeof(tail));
	if (snprintf(err->what, sizeof(err->what), "%s: %s", head, tail) >= (int)sizeof(err->what))
		err->what[sizeof(err->what) - 1] = '\0';
	return err->error;
}
