/*
 * load run [key=value …] [-- COMMAND …]: one run, see run.c.
 * load drain: moves stdin to nowhere, without reading it.    load keep: reads stdin into new memory.
 * load warm BYTES: touches and frees memory.                 load hold BYTES THREADS: a process for a real CRIU to dump.
 */
#include "load.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

/* A run that takes longer hangs. */
#define LIMIT_SECONDS 600

double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static int leads_group;

void die(const char *what)
{
	fprintf(stderr, "load: ");
	perror(what);
	if (leads_group)
		kill(0, SIGKILL);
	_exit(1);
}

static void end_group(int signal)
{
	(void)signal;
	kill(0, SIGKILL);
}

/* The processes of a run are a group, so that none of them outlives a run that fails, hangs or is ended. */
static void lead_group(void)
{
	setpgid(0, 0);
	leads_group = 1;
	signal(SIGTERM, end_group);
	signal(SIGALRM, end_group);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	alarm(LIMIT_SECONDS);
}

static int is(const char *text, const char *other)
{
	return strcmp(text, other) == 0;
}

int main(int count, char **args)
{
	const char *what = count > 1 ? args[1] : "";
	if (is(what, "drain"))
		return drain();
	if (is(what, "keep"))
		return keep();
	if (is(what, "warm") && count == 3)
		return warm(strtoull(args[2], NULL, 10)), 0;
	if (is(what, "hold") && count == 4)
		return hold(strtoull(args[2], NULL, 10), atoi(args[3]));
	if (!is(what, "run"))
		return fprintf(stderr, "load: see main.c\n"), 2;
	char **command = args += 2;
	while (*command && !is(*command, "--"))
		command++;
	if (*command)
		*command++ = NULL;
	lead_group();
	return run(args, command);
}
