/** What Node's timers can count. */

/** setTimeout counts milliseconds in 31 bits, and fires at once where they are more: whole seconds that fit. */
export const MAX_TIMER_SECONDS = 2_147_483;
