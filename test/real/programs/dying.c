/*
 * dying THREADS PROCESSES: has every kind of word that the kernel changes when threads die. Each process has THREADS threads
 * of its C library, four of which hold a robust mutex (one with priority inheritance), and threads made by clone(2), whose
 * clear_child_tid words are in private memory, across a page boundary, in shared memory and in a memfd. On SIGUSR1 every
 * process checks that all words are unchanged, and one line has the result: "1: 2 processes, right". One more process is a
 * zombie, which has no memory. Prints "ready" first.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Seconds after which a process ends whose test was killed. */
#define LONGEST 300
#define LIBRARY_THREADS 256
#define MUTEXES 4
#define PAGE 4096
#define CLONES 4
/* No thread has this number, so that the word changes if the kernel stores a thread ID there. */
#define WORD 0x5a5aa5a5

enum { PROCESSES = 8 };

struct shared {
	volatile unsigned asked, answered[PROCESSES];
	volatile int ready[PROCESSES];
	char wrong[PROCESSES][100];
	/* For each process: words and a mutex in shared memory. */
	struct { uint32_t word; pthread_mutex_t mutex; } each[PROCESSES];
};

static struct shared *shared;
static pthread_t threads[LIBRARY_THREADS];
static pthread_mutex_t mutexes[MUTEXES];
static volatile int locked[LIBRARY_THREADS];
static int number, count;
static char *words[CLONES];
static volatile sig_atomic_t asks;

static void on_signal(int signal)
{
	(void)signal;
	asks++;
}

static void *run(void *argument)
{
	long i = (long)argument;
	if (i < MUTEXES)
		pthread_mutex_lock(&mutexes[i]);
	if (i == MUTEXES)
		pthread_mutex_lock(&shared->each[number].mutex);
	locked[i] = 1;
	for (;;)
		pause();
	return NULL;
}

static int run_clone(void *argument)
{
	(void)argument;
	for (;;)
		syscall(SYS_pause);
	return 0;
}

static void *map(size_t bytes, int flags, int fd)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
	if (memory == MAP_FAILED)
		_exit(3);
	return memory;
}

static void make_mutex(pthread_mutex_t *mutex, int is_shared, int inherits)
{
	pthread_mutexattr_t attributes;
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	if (is_shared)
		pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	if (inherits)
		pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(mutex, &attributes);
}

static void make_clone(char *word)
{
	const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
			  CLONE_CHILD_CLEARTID;
	uint32_t value = WORD;
	char *stack = map(16 * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	memcpy(word, &value, sizeof value);
	if (clone(run_clone, stack + 16 * PAGE, flags, NULL, NULL, NULL, word) < 0)
		_exit(4);
}

static void begin(void)
{
	char *private = map(4 * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	int memfd = memfd_create("words", 0);
	if (ftruncate(memfd, PAGE))
		_exit(5);
	words[0] = private + 100;
	words[1] = private + 2 * PAGE - 2;
	words[2] = (char *)&shared->each[number].word;
	words[3] = map(PAGE, MAP_SHARED, memfd);
	for (int i = 0; i < MUTEXES; i++)
		make_mutex(&mutexes[i], 0, i == MUTEXES - 1);
	make_mutex(&shared->each[number].mutex, 1, 0);
	for (long i = 0; i < count; i++)
		pthread_create(&threads[i], NULL, run, (void *)i);
	for (int i = 0; i < count; i++)
		while (!locked[i])
			usleep(1000);
	for (int i = 0; i < CLONES; i++)
		make_clone(words[i]);
	shared->ready[number] = 1;
}

static void check(char *wrong, size_t bytes)
{
	uint32_t value;
	wrong[0] = 0;
	for (int i = 0; i < count; i++)
		if (pthread_tryjoin_np(threads[i], NULL) == 0)
			snprintf(wrong, bytes, "thread %d of process %d counts as ended", i, number);
	for (int i = 0; i < MUTEXES; i++)
		if (pthread_mutex_trylock(&mutexes[i]) != EBUSY)
			snprintf(wrong, bytes, "mutex %d of process %d is not held", i, number);
	if (pthread_mutex_trylock(&shared->each[number].mutex) != EBUSY)
		snprintf(wrong, bytes, "the shared mutex of process %d is not held", number);
	for (int i = 0; i < CLONES; i++) {
		memcpy(&value, words[i], sizeof value);
		if (value != WORD)
			snprintf(wrong, bytes, "word %d of process %d is %x", i, number, value);
	}
}

static void serve(void)
{
	for (unsigned done = 0;; usleep(2000)) {
		unsigned asked = shared->asked;
		if (asked == done)
			continue;
		check(shared->wrong[number], sizeof shared->wrong[number]);
		shared->answered[number] = done = asked;
	}
}

int main(int argc, char **argv)
{
	int processes = argc > 2 ? atoi(argv[2]) : 1;
	count = argc > 1 ? atoi(argv[1]) : 16;
	if (count <= MUTEXES || count > LIBRARY_THREADS || processes < 1 || processes > PROCESSES)
		return 2;
	/* The kernel updates the area of restartable sequences at any time: its words cannot be compared. */
	if (setenv("GLIBC_TUNABLES", "glibc.pthread.rseq=0", 0) || !getenv("DYING"))
		if (setenv("DYING", "1", 1) == 0)
			execv("/proc/self/exe", argv);
	signal(SIGUSR1, on_signal);
	alarm(LONGEST);
	shared = map(sizeof *shared, MAP_SHARED | MAP_ANONYMOUS, -1);
	for (int i = 1; i < processes; i++)
		if (fork() == 0) {
			number = i;
			alarm(LONGEST);
			begin();
			serve();
		}
	if (fork() == 0)
		_exit(0);
	begin();
	for (int i = 0; i < processes; i++)
		while (!shared->ready[i])
			usleep(1000);
	puts("ready");
	fflush(stdout);
	for (int told = 0;; usleep(2000)) {
		const char *wrong = NULL;
		if (told == asks)
			continue;
		told++;
		shared->asked = told;
		check(shared->wrong[0], sizeof shared->wrong[0]);
		for (int i = 1; i < processes; i++)
			while (shared->answered[i] != (unsigned)told)
				usleep(1000);
		for (int i = 0; i < processes; i++)
			if (shared->wrong[i][0])
				wrong = shared->wrong[i];
		printf("%d: %d processes, %s\n", told, processes, wrong ? wrong : "right");
		fflush(stdout);
	}
}
