import type { Defect } from './defect.ts'

export const LOCKS_BUS: Readonly<Record<string, Defect>> = {
  'locks-bus/H2': {
    about: 'a watch that goes on after a version tells changes twice and out of order',
    workload: 'terms',
    patches: [
      {
        file: 'election/cluster/store/watch-event-queue.ts',
        find: '    this.#floor = after\n    this.#held = true',
        put: '    this.#held = true',
      },
      {
        file: 'election/cluster/store/watch-event-queue.ts',
        find: '    this.#held = false\n    this.#wake()',
        put: '    this.#held = false\n    this.#floor = Number.NEGATIVE_INFINITY\n    this.#wake()',
      },
    ],
  },
  'locks-bus/M1': {
    about: 'a logger that throws leaves the lane of a sender standing still',
    workload: 'crowd',
    patches: [
      {
        file: 'bus/options.ts',
        find: "...resolveRuntime('createBus', options)",
        put: "...resolveRuntime('createBus', options), ...(options.logger && { logger: options.logger })",
      },
    ],
  },
  'locks-bus/M2': {
    about: 'the handlers of a consumer that was started under a lock carry that lock for ever',
    workload: 'terms',
    patches: [
      {
        file: 'binder/consuming/consumer-run.ts',
        find: 'lastingContext()',
        put: "process.getBuiltinModule('node:async_hooks').AsyncLocalStorage.snapshot()",
      },
    ],
  },
  'locks-bus/M4': {
    about: 'on a signed bus one sender whose clock is ahead makes a receiver deaf for all others',
    workload: 'crowd',
    patches: [
      {
        file: 'bus/seen-events.ts',
        find: 'return time <= (this.#forgottenUpTo.get(sender) ?? this.#othersForgottenUpTo)',
        put: 'return time <= Math.max(this.#othersForgottenUpTo, ...this.#forgottenUpTo.values()) && sender !== ""',
      },
    ],
  },
  'locks-bus/M5': {
    about: 'on a signed bus presence can be played again, and who has left is there again',
    workload: 'crowd',
    patches: [{ file: 'bus/presence.ts', find: '{ rememberMs: 2 * maxSkewMs }', put: '{ rememberMs: 0 * maxSkewMs }' }],
  },
  'locks-bus/L2': {
    about: 'an update whose text ends in a comment is written without its guard',
    workload: 'terms',
    patches: [
      {
        file: 'locks/fenced-update.ts',
        find: 'SET ${column} = ${mine}, ${set}\n',
        put: 'SET ${set}, ${column} = ${mine}\n',
      },
    ],
  },
  'locks-bus/L4': {
    about: 'a question for the last tick that is never answered keeps a job from running, and all is green',
    workload: 'terms',
    patches: [
      {
        file: 'election/schedule/job-runner.ts',
        find: 'const LAST_TICK_MS = 10 * SECOND',
        put: 'const LAST_TICK_MS = 1e9 * SECOND',
      },
    ],
  },
  'locks-bus/L5': {
    about: 'a signed event can be played again after the clock of the receiver was set back',
    workload: 'crowd',
    patches: [
      {
        file: 'bus/seen-events.ts',
        find: 'if (entry.at > limit) return\n      this.#forget(key, entry)',
        put: 'if (entry.at > limit) return\n      this.#entries.delete(key)',
      },
    ],
  },
  'locks-bus/L6': {
    about: 'on an unsigned bus one message makes a ghost that is waited for for days',
    workload: 'crowd',
    patches: [
      {
        file: 'bus/presence.ts',
        find: '{ maxIntervalMs: Math.max(1 * MINUTE, SLOWEST * heartbeatMs) }',
        put: '{}',
      },
    ],
  },
  'locks-bus/H1': {
    about: 'the password of Redis is written to the log',
    notPlayed: 'is about what a log says',
    test: 'test/core/redis-secrets.int.test.ts',
  },
  'locks-bus/M3': {
    about: 'shared leases are lost while the memory of Redis is full',
    notPlayed: 'needs a Redis whose memory is full',
    test: 'test/locks/redis/full.int.test.ts',
  },
  'locks-bus/M6': {
    about: 'the example deletes a foreign folder',
    notPlayed: 'is about files of the example',
    test: 'test/examples/order-payment/run/data-directory.test.ts',
  },
  'locks-bus/L1': {
    about: 'a requester can have any number of destinations made',
    notPlayed: 'is about how many destinations there are',
    test: 'test/binder/requests/requester.test.ts',
  },
  'locks-bus/L3': {
    about: 'no migration works in a schema whose name has a dollar sign and a quote',
    notPlayed: 'fails at once, and loses, repeats and stops nothing later',
    test: 'test/core/pglite.test.ts',
  },
  'locks-bus/L7': {
    about: 'two fence resources that are not well-formed are one',
    notPlayed: 'such a name is refused before anything is written',
    test: 'test/locks/fence.test.ts',
  },
  'locks-bus/L8': {
    about: 'packages of the lock file have no hash',
    notPlayed: 'is about the lock file of the dependencies',
    test: 'test/lockfile.test.ts',
  },
}
