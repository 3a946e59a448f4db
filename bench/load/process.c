/* The processes of a run: the streamer, and what reads from it or sends to it. */
#define _GNU_SOURCE
#include "load.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Starts a command, whose descriptors from `first` on are `fds`. All others of this process are closed in it. */
pid_t start(char **command, const int *fds, int count, int first)
{
	pid_t pid = fork();
	if (pid < 0)
		die("fork");
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_DFL);
	for (int i = 0; i < count; i++)
		if (fds[i] >= 0 && dup2(fds[i], first + i) < 0)
			die("dup2");
	execvp(command[0], command);
	die(command[0]);
	return -1;
}

pid_t start_script(const char *script, int fd, int at)
{
	char *command[] = { "bash", "-o", "pipefail", "-c", (char *)script, NULL };
	return start(command, &fd, 1, at);
}

/* Ends the run of a process that has failed. */
void fail(const char *what, int status)
{
	fprintf(stderr, "load: failed with %d: %s\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), what);
	kill(0, SIGKILL);
}

/* Waits for the end of a process that has to succeed. */
void end(pid_t pid, const char *what)
{
	int status;
	if (waitpid(pid, &status, 0) < 0)
		die("waitpid");
	if (status != 0)
		fail(what, status);
}

/* CPU seconds of a running process, with a resolution of nanoseconds. */
double cpu_of(pid_t pid)
{
	clockid_t clock;
	struct timespec time = { 0 };
	if (pid > 0 && clock_getcpuclockid(pid, &clock) == 0)
		clock_gettime(clock, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}
