/**
 * Limit of a page of a log, in bytes of its changes; an entry that is larger is a page of its own. Small enough that a database returns it
 * within the second in which it must answer.
 */
export const MAX_PAGE_BYTES = 1_024 * 1_024
