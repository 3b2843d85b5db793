import type { Defect } from './defect.ts'

export const SAGA_OUTBOX: Readonly<Record<string, Defect>> = {
  'saga-outbox/H1': {
    about: 'a tombstone overtakes the value of its own key, when a window is full',
    workload: 'backlog',
    patches: [
      {
        file: 'outbox/partition-queries.ts',
        find: 'sum(coalesce(octet_length(payload), 0)) OVER',
        put: 'sum(octet_length(payload)) OVER',
      },
      {
        file: 'outbox/partition-queries.ts',
        find: 'WHERE bytes_so_far - coalesce(octet_length(payload), 0) < $5',
        put: 'WHERE coalesce(bytes_so_far - octet_length(payload), 0) < $5',
      },
    ],
  },
  'saga-outbox/H3': {
    about:
      'two services with a saga of one name share what a participant remembers, and the second effect never happens',
    workload: 'shops',
    patches: [
      {
        file: 'saga/participant/barrier.ts',
        find: "return [key, birth === '' ? replyTo : birth]",
        put: "return [key, '']",
      },
    ],
  },
  'saga-outbox/H4': {
    about: 'a destination that is away holds up all others once it fills a window',
    workload: 'backlog',
    patches: [
      {
        file: 'outbox/partition-relay.ts',
        find: 'for (const [destination, error] of outages) this.#away.add(destination, error)',
        put: 'for (const error of outages.values()) await this.#pauses.pause(error)',
      },
    ],
  },
  'saga-outbox/M5': {
    about: 'outputs of one key arrive in the wrong order when the broker refuses some of them',
    workload: 'flows',
    patches: [
      {
        file: 'binder/consuming/failure/publish-until-confirmed.ts',
        find: 'if (host.confirmsSingly !== true || left.length < 2) return left',
        put: 'if (left.length > 0) return left',
      },
    ],
  },
  'saga-outbox/M9': {
    about: 'two services share the tables of an outbox, and one sends what the other wrote',
    workload: 'backlog',
    patches: [
      {
        file: 'outbox/sql-functions.ts',
        find: "'meta.partitions = p_partitions AND (meta.service IS NULL OR meta.service = p_service)'",
        put: "'meta.partitions = p_partitions'",
      },
    ],
  },
  'saga-outbox/H2': {
    about: 'retention deletes a saga that can still be undone, and then it counts as undone',
    workload: 'families',
    patches: [
      {
        file: 'saga/coordinator/retention.ts',
        find: `
               UNION
               SELECT p.state->'parent'->>'name', p.state->'parent'->>'id'
               FROM above JOIN ${'$'}{this.#saga} p USING (name, id))`,
        put: ')',
      },
      {
        file: 'saga/definition/kinds/sub-saga.ts',
        find: 'order(first, back(isDone ? lost : nothing))',
        put: 'order(first, back(nothing))',
      },
    ],
  },
  'saga-outbox/H5': {
    about: 'a transaction that could not begin counts as a failed attempt, and healthy sagas turn back',
    workload: 'families',
    patches: [
      {
        file: 'saga/coordinator/transactional-step-calls.ts',
        find: 'if (!own.hasBegun) return { notBegun: error }',
        put: '',
      },
    ],
  },
  'saga-outbox/H6': {
    about: 'a sub-saga that an operator resolves while it is undone leaves its parent hanging for good',
    workload: 'families',
    patches: [
      {
        file: 'saga/machine/machine.ts',
        find: "(parent.operation === 'compensate' && status !== 'completed')",
        put: "parent.operation === 'compensate'",
      },
    ],
  },
  'saga-outbox/M1': {
    about: 'a saga under an id that was used before takes the old answers of the participants for its own',
    workload: 'shops',
    patches: [
      {
        file: 'saga/participant/barrier.ts',
        find: "return [key, birth === '' ? replyTo : birth]",
        put: 'return [key, replyTo]',
      },
    ],
  },
  'saga-outbox/M2': {
    about: 'the retry of an operator after a refusal behind the pivot never calls the participant again',
    workload: 'shops',
    patches: [
      {
        file: 'saga/machine/apply-operator-action.ts',
        find: 'if (draft.shapeOf(index).remote) draft.set(index, { round: (draft.step(index).round ?? 0) + 1 })',
        put: '',
      },
    ],
  },
  'saga-outbox/M3': {
    about: 'the steps of a saga run under the lock of its caller',
    workload: 'families',
    patches: [
      {
        file: 'saga/coordinator/local-chain-runner.ts',
        find: 'readonly #detached: <T>(work: () => T) => T = lastingContext()',
        put: 'readonly #detached: <T>(work: () => T) => T = (work) => work()',
      },
    ],
  },
  'saga-outbox/M4': {
    about: 'a sub-saga whose id is taken is passed over, and its parent waits for ever',
    workload: 'families',
    patches: [
      {
        file: 'saga/coordinator/committer.ts',
        find: 'if (begun.has(index) || parent === undefined) continue',
        put: 'if (begun.size >= 0) continue',
      },
    ],
  },
  'saga-outbox/M8': {
    about: 'a timer beyond what the database can add has the step before it called again and again',
    workload: 'families',
    patches: [
      { file: 'saga/definition/kinds/timer.ts', find: 'if (ms > MAX_DELAY_MS) throw', put: 'if (ms < 0) throw' },
    ],
  },
  'saga-outbox/M10': {
    about: 'one schema that does not settle stops all due sagas of its process',
    workload: 'families',
    patches: [
      {
        file: 'saga/coordinator/lease-length-timeout.ts',
        find: 'if (await finishesWithin(clock, leaseMs, work)) return',
        put: 'if ((await work) === undefined) return',
      },
      {
        file: 'saga/coordinator/due-saga-runner.ts',
        find: 'await finishesWithin(clock, LOOK_MS, all)',
        put: 'await all',
      },
    ],
  },
  'saga-outbox/L1': {
    about: 'a stuck saga raises no alarm when the answer of the write that parked it is lost',
    workload: 'families',
    patches: [
      {
        file: 'saga/coordinator/to-plan.ts',
        find: "const isParked = state.status === 'stuck' && !kept",
        put: 'const isParked = false',
      },
    ],
  },
  'saga-outbox/L2': {
    about: 'a signal that came after the deadline and was dropped is said to be heard',
    workload: 'families',
    patches: [
      {
        file: 'saga/coordinator/signals.ts',
        find: 'if (applied !== undefined) return applied.heard',
        put: 'if (applied !== undefined) return applied.changed',
      },
    ],
  },
  'saga-outbox/L3': {
    about: 'an operator who drops a failed message drops every one of its id',
    workload: 'backlog',
    patches: [
      {
        file: 'outbox/parked-messages.ts',
        find: "if (found.rows.length > 1) throw new OutboxError('outbox.ambiguous', { id, places: found.rows })",
        put: '',
      },
    ],
  },
  'saga-outbox/L6': {
    about: 'an unreadable row of another program stops its partition',
    workload: 'backlog',
    patches: [
      {
        file: 'outbox/partition-queries.ts',
        find: '    } catch (cause) {\n',
        put: '    } catch (cause) {\n      throw cause\n',
      },
    ],
  },
  'saga-outbox/M6': {
    about: 'the close of a listener hangs while the server stands still',
    notPlayed: 'needs a server that stands still in the middle of LISTEN',
    test: 'test/core/pg-listener.test.ts',
  },
  'saga-outbox/M7': {
    about: 'ids of foreign Kafka records come again when a topic is made anew, and an inbox drops them',
    notPlayed: 'needs a topic of Kafka that is made anew',
    test: 'test/binder/kafka/wire/record.test.ts',
  },
  'saga-outbox/L4': {
    about: 'what is kept of sagas in memory is bounded by their number alone',
    notPlayed: 'is about memory, and loses, repeats and stops nothing',
    test: 'test/saga/coordinator/bounds.test.ts',
  },
  'saga-outbox/L5': {
    about: 'notes and results of operators that cannot be kept fail with an error that is not ours',
    notPlayed: 'is about what an error says',
    test: 'test/saga/coordinator/bounds.test.ts',
  },
}
