export const SAGA_INVARIANTS = {
  'money is constant':
    'at quiescence all accounts together hold what they held, nothing is reserved, and each account what its sagas say',
  'each saga ends once': 'each started saga is completed or compensated, with one end in its timeline; none is stuck',
  'each effect once': 'no key has the same effect twice, however often it was asked for',
  'ends as it says': 'a completed saga left the effects of all its steps, a compensated one none that was not undone',
  'compensations match intents':
    'what was undone was intended before in the timeline, and had been done; no effect without an intent',
  'never without owner':
    'no saga that is due, or whose owner is gone, waits longer than the lease; no lease is longer than it should be',
  'no process fails': 'no unhandled rejection, no process that ended by itself',
} as const

export type SagaInvariant = keyof typeof SAGA_INVARIANTS
