/*
 * Plays states and heads to the code that decides (efi/slot.h). To be compiled with -fsanitize=address,undefined.
 *
 *     slots state < pairs of copies     writes 4 bytes and the state of each: which copy counts (0: none), the slot,
 *                                       whether the state is to be written, whether it is the last slot
 *     slots head < heads                writes a byte and two words of each: whether it is whole, the sector, the length
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../efi/slot.h"

static int play_state(u8 *copies)
{
    int current = state_current(copies, copies + STATE_LENGTH);
    u8 *state = copies + (current > 0 ? STATE_LENGTH : 0);
    struct choice choice = {0, 0, 0};
    if (current >= 0)
        choice = state_choose(state);
    u8 answer[] = {current + 1, choice.slot, choice.writes, choice.is_last};
    return fwrite(answer, sizeof answer, 1, stdout) && fwrite(state, STATE_LENGTH, 1, stdout);
}

static int play_head(u8 *head)
{
    u32 sector, length;
    u8 answer[9] = {head_read(head, &sector, &length)};
    put32(answer + 1, sector);
    put32(answer + 5, length);
    return fwrite(answer, sizeof answer, 1, stdout);
}

int main(int count, char **words)
{
    int is_head = count > 1 && !strcmp(words[1], "head");
    size_t length = is_head ? HEAD_LENGTH : 2 * STATE_LENGTH;
    u8 *exactly = malloc(length);
    while (fread(exactly, length, 1, stdin))
        if (!(is_head ? play_head : play_state)(exactly))
            return 1;
    free(exactly);
    return 0;
}
