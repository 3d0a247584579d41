/* A model on its way in: frames MODEL, CARRY and FILES. */
#ifndef GODWIT_MIGRATE_MODEL_IN_H
#define GODWIT_MIGRATE_MODEL_IN_H

#include "migrate/carry_in.h"

struct model_in {
	int fd; /* the image, in memory */
	uint64_t at;
	uint32_t look; /* enum proto_look */
	uint64_t *hash;
	size_t nhash;
	struct carry_in *carry; /* where a list of files to be taken along goes; or NULL */
	bool has_list;          /* such a list came */
};

int model_in_open(struct model_in *m, struct err *err) __must_check;
/* Takes a frame of type MODEL, CARRY or FILES; any other is refused.  1: it was the last. */
int model_in_frame(struct model_in *m, uint32_t type, const void *p, size_t len,
		   struct err *err) __must_check;
void model_in_done(struct model_in *m);

#endif
