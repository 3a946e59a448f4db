/*
 * hugetlb private|shared: holds four huge pages. On SIGUSR1 it checks them, and one line has the result: "8 MB, right".
 * Prints "ready" first.
 */
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "pattern.h"

#define BYTES (8 << 20)

int main(int argc, char **argv)
{
	int shared = argc > 1 && !strcmp(argv[1], "shared");
	uint64_t *memory = area_of(BYTES, MAP_HUGETLB | (shared ? MAP_SHARED : MAP_PRIVATE));
	sigset_t signals;
	int signal;
	alarm(LONGEST);
	fill(memory, BYTES, 1, 0);
	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	puts("ready");
	fflush(stdout);
	while (!sigwait(&signals, &signal)) {
		puts(wrong(memory, BYTES, 1, 0) < 0 ? "8 MB, right" : "8 MB, wrong");
		fflush(stdout);
	}
	return 1;
}
