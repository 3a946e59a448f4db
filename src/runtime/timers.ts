/** The limit of Node's timers. */

/** In whole seconds: setTimeout has 31 bits for its milliseconds, and fires at once when they overflow. */
export const MAX_TIMER_SECONDS = 2_147_483;
