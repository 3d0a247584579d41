/* A model on its way in: see model_in.h. */
#include "migrate/model_in.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

int model_in_open(struct model_in *m, struct err *err)
{
	*m = (struct model_in){.fd = memfd_create("godwit-model", MFD_CLOEXEC)};
	return m->fd < 0 ? err_sys(err, -errno, "cannot make a file in memory") : 0;
}

void model_in_done(struct model_in *m)
{
	io_close_fd(&m->fd);
	free(m->hash);
	m->hash = NULL;
	m->nhash = 0;
}

static int take_files(struct model_in *m, const void *p, size_t len, struct err *err)
{
	struct codec c = codec_reader(p, len);

	codec_u32(&c, &m->look);
	codec_array(&c, &m->hash, &m->nhash, sizeof(uint64_t), 8, PROTO_FILES_MAX / 8);
	for (size_t i = 0; i < m->nhash; i++)
		codec_u64(&c, &m->hash[i]);
	if (!codec_ended(&c) || (m->look != LOOK_LAST && m->look != LOOK_EARLY))
		return err_set(err, -EPROTO, "a malformed list of files came");
	return 1;
}

int model_in_frame(struct model_in *m, uint32_t type, const void *p, size_t len, struct err *err)
{
	int ret;

	if (type == FRAME_FILES)
		return take_files(m, p, len, err);
	if (type == FRAME_CARRY && m->carry && !m->has_list) {
		m->has_list = true;
		return carry_in_list(m->carry, p, len, err);
	}
	if (type != FRAME_MODEL || !len || len > PROTO_PIECE || m->at + len > PROTO_MODEL_MAX)
		return err_set(err, -EPROTO, "a frame of type %u came that does not belong there",
			       type);
	if ((ret = io_pwrite_all(m->fd, p, len, m->at)))
		return err_sys(err, ret, "cannot keep the model");
	m->at += len;
	return 0;
}
