/** Unpublished messages, and messages that the relay gave up on. */

import type { FailingLine, OutboxStats, ParkedLine } from '../engine-types.ts'
import { Act, type Order } from './action-dialog.tsx'
import { get } from './api.ts'
import { useLive } from './live.ts'
import { Ago, Cut, count, isMost, lasting, Panel, Spark, Table, Trouble } from './ui-components.tsx'
import { useLoaded } from './use-loaded.ts'

interface Shown {
  readonly stats: OutboxStats
  readonly failing: readonly FailingLine[]
  readonly parked: readonly ParkedLine[]
}

const MOST = 200

export function Outbox() {
  const live = useLive()
  const { data, problem, again } = useLoaded('outbox', () => get<Shown>('outbox', { limit: MOST }), 3_000)
  const stats = live.snapshot.outbox?.data ?? data?.stats
  return (
    <>
      {problem !== undefined && <Trouble problem={problem} again={again} />}
      {stats !== undefined && (
        <div class="cards">
          <div class="card info">
            <b>{count(stats.pending, isMost(stats.pending))}</b>
            <span>pending</span>
            <Spark of={live.history('outbox')} label="pending, the last minutes" />
          </div>
          <div class={`card ${stats.oldestAgeMs > 60_000 ? 'warn' : 'info'}`}>
            <b>{stats.oldestAgeMs === 0 ? '-' : lasting(stats.oldestAgeMs)}</b>
            <span>the oldest waits</span>
          </div>
          <div class={`card ${stats.parked > 0 ? 'bad' : 'good'}`}>
            <b>{count(stats.parked)}</b>
            <span>parked</span>
          </div>
          <div class={`card ${stats.blockedKeys > 0 ? 'warn' : 'good'}`}>
            <b>{count(stats.blockedKeys)}</b>
            <span>keys held back</span>
          </div>
        </div>
      )}
      {(data?.failing.length ?? 0) > 0 && <Failing lines={data?.failing ?? []} />}
      <Panel title="Parked" aside={<small>each holds back the later messages of its key</small>}>
        <Table
          label="Parked messages"
          rows={data?.parked ?? []}
          keyOf={({ id, source, destination }) => `${id} ${source} ${destination}`}
          empty={data === undefined ? 'Looking...' : 'Nothing is parked.'}
          columns={[
            { head: 'Message', cell: ({ id }) => <code>{id}</code> },
            { head: 'To', cell: ({ destination }) => <code>{destination}</code> },
            { head: 'Key', cell: ({ key }) => key ?? '-' },
            { head: 'Last error', cell: ({ lastError }) => <span class="error">{lastError}</span> },
            { head: 'Attempts', number: true, cell: ({ attempts }) => attempts },
            { head: 'Parked', number: true, cell: ({ parkedAt }) => <Ago at={parkedAt} /> },
            { head: 'Settle', cell: (line) => <Settle line={line} after={again} /> },
          ]}
        />
        <Cut rows={data?.parked} most={MOST} how=", the oldest: npx concordat outbox list --limit N" />
      </Panel>
    </>
  )
}

function Failing({ lines }: { lines: readonly FailingLine[] }) {
  return (
    <Panel title="Failing" aside={<small>a relay tries each again</small>}>
      <Table
        label="Failing messages"
        rows={lines}
        keyOf={({ id, source, destination }) => `${id} ${source} ${destination}`}
        empty="Nothing fails."
        columns={[
          { head: 'Message', cell: ({ id }) => <code>{id}</code> },
          { head: 'To', cell: ({ destination }) => <code>{destination}</code> },
          { head: 'Key', cell: ({ key }) => key ?? '-' },
          { head: 'Last error', cell: ({ lastError }) => <span class="error">{lastError}</span> },
          { head: 'Attempts', number: true, cell: ({ attempts }) => attempts },
          { head: 'Added', number: true, cell: ({ addedAt }) => <Ago at={addedAt} /> },
        ]}
      />
      <Cut rows={lines} most={MOST} how=": npx concordat outbox list --limit N" />
    </Panel>
  )
}

function Settle({ line, after }: { line: ParkedLine; after: () => void }) {
  const { id, source, destination, key } = line
  const body = { id, source, destination }
  const retry = (): Order => ({
    title: 'Retry the message',
    about: <p>The relay tries it again, and the messages of its key behind it.</p>,
    route: 'outbox',
    body: { ...body, do: 'retry' },
    after,
  })
  const drop = (): Order => ({
    title: 'Drop the message',
    about: <p>Gives it up and frees the key {key ?? ''}. It stays whole in the outbox's audit.</p>,
    route: 'outbox',
    body: { ...body, do: 'drop' },
    danger: true,
    typed: id,
    after,
  })
  return (
    <span class="buttons left">
      <Act action="outbox.retry" small order={retry}>
        Retry
      </Act>
      <Act action="outbox.drop" small order={drop}>
        Drop
      </Act>
    </span>
  )
}
