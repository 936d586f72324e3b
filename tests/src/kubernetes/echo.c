/* A web server that answers with the name of its host: the pods of the test's Deployment. Built static; runs without anything else. */
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void) {
    char name[256] = "", answer[512], request[2048];
    int one = 1, door = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons(8080), .sin_addr = {htonl(INADDR_ANY)}};
    signal(SIGPIPE, SIG_IGN);
    gethostname(name, sizeof name - 1);
    int size = snprintf(answer, sizeof answer, "HTTP/1.0 200 OK\r\nContent-Length: %zu\r\n\r\n%s\n", strlen(name) + 1, name);
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(door, (struct sockaddr *)&place, sizeof place) || listen(door, 64)) {
        perror("listening on port 8080");
        return 1;
    }
    for (;;) {
        int visitor = accept(door, NULL, NULL);
        if (visitor < 0)
            continue;
        if (read(visitor, request, sizeof request) > 0 && write(visitor, answer, size) < 0)
            perror("answering");
        close(visitor);
    }
}
