/** What the processes of a service have in common, wherever each of them runs. */

/** Fixed when a run's tables are made, so the same however many processes there are. */
export const RELAYS = 4
/** How long the others wait for a killed process before they take over what it had, in ms. */
export const LEASE_MS = 3_000
