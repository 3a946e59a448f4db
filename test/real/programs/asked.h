/* A program that says on SIGUSR1 how it is: it waits for the signal, so that no system call of it is interrupted. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include "pattern.h"

/* To be called first: sets when the program ends at the latest, lets stdout go out line by line, and blocks SIGUSR1. */
static void prepare(void)
{
	sigset_t asked;
	alarm(LONGEST);
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigemptyset(&asked);
	sigaddset(&asked, SIGUSR1);
	sigprocmask(SIG_BLOCK, &asked, NULL);
}

static void wait_until_asked(void)
{
	sigset_t asked;
	sigemptyset(&asked);
	sigaddset(&asked, SIGUSR1);
	while (sigwaitinfo(&asked, NULL) != SIGUSR1)
		;
}
