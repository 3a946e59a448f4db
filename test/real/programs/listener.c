/*
 * listener PORT: listens on 127.0.0.1:PORT. Each connection is sent one line: the port on which it listens and whether its
 * memory is right ("4000 right"). Prints "ready" first.
 */
#include <arpa/inet.h>
#include <string.h>
#include <unistd.h>
#include "pattern.h"

int main(int argc, char **argv)
{
	enum { BYTES = 8 << 20 };
	alarm(LONGEST);
	int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 0) };
	uint64_t *memory = area_of(BYTES, MAP_PRIVATE);
	fill(memory, BYTES, 1, 0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 8)) {
		perror("bind");
		return 1;
	}
	printf("ready\n");
	for (;;) {
		char text[64];
		socklen_t length = sizeof address;
		int client = accept(listener, NULL, NULL);
		if (client < 0)
			continue;
		getsockname(listener, (struct sockaddr *)&address, &length);
		snprintf(text, sizeof text, "%d %s\n", ntohs(address.sin_port), wrong(memory, BYTES, 1, 0) < 0 ? "right" : "wrong");
		if (write(client, text, strlen(text)) < 0)
			perror("write");
		close(client);
	}
}
