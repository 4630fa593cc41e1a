/* The program that runs in a guest of the laboratory and bears witness that moving it lost nothing.
 *
 *   witness MEMORY_MIB WRITE_MIB_PER_S BEAT_MS DISK|none
 *
 * Every BEAT_MS it prints one line on standard output, the serial console:
 *
 *   BEAT count=N gap_ms=G rounds=R disk=D ok
 *
 * count goes up by one per line. gap_ms is the longest pause since the last line that the guest's own clock saw. rounds
 * tells how often the whole memory was written, disk the number of the last record. The last word is `ok`, or `memory`
 * or `disk` once anything read back was not what had been written; it never turns back to `ok`.
 *
 * Memory: each page bears three stamps made from its number and the round in which it was written. A stamp is checked
 * before it is overwritten, and all pages are read through once in ten beats, so pages that rest are checked too.
 * Disk: each beat writes one record into a ring of slots, past the page cache, after it has read back the last record
 * and one old one. After a restart it goes on at the newest record of the ring.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, WORDS = PAGE / 8, SLOTS = 256, NAP_MS = 20, SWEEP_BEATS = 10 };
static const uint64_t MAGIC = 0x77697420666f7277ULL;
static const int STAMPED[] = {0, WORDS / 2, WORDS - 1};

static int memory_broken, disk_broken;

static double now_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

/* --- memory -------------------------------------------------------------------------------------- */

static uint64_t *pages;
static size_t page_count, next_write, next_read;
static uint64_t current_round = 1;

static uint64_t stamp(size_t page, uint64_t round, int word) {
    return (page * 0x9e3779b97f4a7c15ULL) ^ (round << 20) ^ (uint64_t)word;
}

static uint64_t round_of(size_t page) { return page < next_write ? current_round : current_round - 1; }

static void check_page(size_t page) {
    uint64_t round = round_of(page);
    for (int i = 0; i < 3 && round > 0; i++)
        if (pages[page * WORDS + STAMPED[i]] != stamp(page, round, STAMPED[i])) memory_broken = 1;
}

static void write_pages(size_t count) {
    for (; count > 0; count--) {
        check_page(next_write);
        for (int i = 0; i < 3; i++)
            pages[next_write * WORDS + STAMPED[i]] = stamp(next_write, current_round, STAMPED[i]);
        if (++next_write == page_count) {
            next_write = 0;
            current_round++;
        }
    }
}

static void sweep(void) {
    for (size_t left = page_count / SWEEP_BEATS + 1; left > 0 && page_count > 0; left--) {
        check_page(next_read);
        next_read = (next_read + 1) % page_count;
    }
}

/* --- disk ---------------------------------------------------------------------------------------- */

static int disk = -1;
static uint64_t *record, newest;

static off_t place(uint64_t number) { return (off_t)(number % SLOTS) * PAGE; }

static int holds(uint64_t number) {
    return pread(disk, record, PAGE, place(number)) == PAGE && record[0] == MAGIC && record[1] == number &&
           record[WORDS - 1] == ~number;
}

static void open_disk(const char *path) {
    if (strcmp(path, "none") == 0) return;
    disk = open(path, O_RDWR | O_DIRECT | O_SYNC);
    if (disk < 0) {
        disk_broken = 1;
        return;
    }
    for (uint64_t slot = 0; slot < SLOTS; slot++)
        if (pread(disk, record, PAGE, slot * PAGE) == PAGE && record[0] == MAGIC && record[1] > newest)
            newest = record[1];
}

static void write_record(void) {
    if (disk < 0) return;
    if (newest > 0 && !holds(newest)) disk_broken = 1;
    if (newest > SLOTS / 2 && !holds(newest - SLOTS / 2)) disk_broken = 1;
    memset(record, 0, PAGE);
    record[0] = MAGIC;
    record[1] = ++newest;
    record[WORDS - 1] = ~newest;
    if (pwrite(disk, record, PAGE, place(newest)) != PAGE) disk_broken = 1;
}

/* --- the beat ------------------------------------------------------------------------------------ */

int main(int count, char **words) {
    if (count != 5) return 2;
    double pages_per_ms = atof(words[2]) * 256 / 1e3, beat_ms = atof(words[3]);
    page_count = (size_t)(atof(words[1]) * 256);
    record = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pages = mmap(0, (page_count + 1) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (record == MAP_FAILED || pages == MAP_FAILED) return 1;
    open_disk(words[4]);
    write_pages(page_count);
    double last = now_ms(), last_beat = last, longest = 0, due = 0;
    struct timespec nap = {0, NAP_MS * 1000000L};
    for (uint64_t beat = 0;;) {
        nanosleep(&nap, 0);
        double now = now_ms(), gap = now - last;
        last = now;
        if (gap > longest) longest = gap;
        due += gap * pages_per_ms;
        if (due > page_count) due = page_count;
        write_pages((size_t)due);
        due -= (size_t)due;
        if (now - last_beat < beat_ms) continue;
        last_beat = now;
        sweep();
        write_record();
        printf("BEAT count=%llu gap_ms=%.0f rounds=%llu disk=%llu %s\n", (unsigned long long)++beat, longest,
               (unsigned long long)current_round, (unsigned long long)newest,
               memory_broken ? "memory" : disk_broken ? "disk" : "ok");
        fflush(stdout);
        longest = 0;
    }
}
