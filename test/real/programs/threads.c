/*
 * threads MEGABYTES THREADS: every thread owns a part of the memory and a counter on its stack. On SIGUSR1 all threads check
 * their part and rewrite it, and one line has the result: "1: 4 threads, 64 MB, right". Prints "ready" first.
 */
#include <pthread.h>
#include <semaphore.h>
#include "asked.h"

struct part {
	int number;
	size_t bytes;
	long bad;
	sem_t go, done;
};

static void *run(void *argument)
{
	struct part *part = argument;
	uint64_t *memory = area_of(part->bytes, MAP_PRIVATE);
	volatile uint64_t rounds = 0;
	fill(memory, part->bytes, part->number, rounds);
	for (;;) {
		sem_post(&part->done);
		while (sem_wait(&part->go))
			;
		part->bad = wrong(memory, part->bytes, part->number, rounds);
		rounds++;
		fill(memory, part->bytes, part->number, rounds);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	size_t megabytes = argc > 1 ? atoi(argv[1]) : 16;
	int threads = argc > 2 ? atoi(argv[2]) : 1;
	struct part *parts = calloc(threads, sizeof *parts);
	prepare();
	for (int i = 0; i < threads; i++) {
		pthread_t thread;
		parts[i] = (struct part){ .number = i + 1, .bytes = (megabytes << 20) / threads };
		sem_init(&parts[i].go, 0, 0);
		sem_init(&parts[i].done, 0, 0);
		if (pthread_create(&thread, NULL, run, &parts[i]))
			return 1;
	}
	for (int round = 0;; round++) {
		long bad = -1;
		int where = 0;
		for (int i = 0; i < threads; i++) {
			while (sem_wait(&parts[i].done))
				;
			if (round && parts[i].bad >= 0)
				bad = parts[i].bad, where = i;
		}
		if (!round)
			printf("ready\n");
		else if (bad < 0)
			printf("%d: %d threads, %zu MB, right\n", round, threads, megabytes);
		else
			printf("%d: thread %d is wrong at word %ld\n", round, where, bad);
		wait_until_asked();
		for (int i = 0; i < threads; i++)
			sem_post(&parts[i].go);
	}
}
