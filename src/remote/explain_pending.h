/* Stands in until remote/explain.h lands: to be removed together with explain_pending.c. */
#include <stdio.h>
#include "remote/program.h"
void program_explain(const struct program *p, FILE *out);
