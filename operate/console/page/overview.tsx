/** Everything at a glance: what waits for a person first, then every binding and how it moves. */
import type { ComponentChildren } from 'preact'
import type { BindingStatus } from '../../../binder/status.ts'
import type { GroupLine } from '../../groups.ts'
import type { LiveBinding, Snapshot } from '../snapshot.ts'
import { get } from './api.ts'
import { type Live, lettersIn, useLive } from './live.ts'
import { useLoaded } from './loaded.ts'
import { Badge, type Column, count, lasting, Panel, perSecond, Spark, Table, type Tone, Trouble } from './parts.tsx'

/** A binding as far as anybody here knows it. */
interface Row {
  readonly name: string
  readonly channel: string
  readonly group: string | null
  readonly line?: GroupLine | undefined
  readonly own?: LiveBinding | undefined
  readonly letters?: number | undefined
}

export function Overview() {
  return (
    <>
      <Cards />
      <Bindings />
    </>
  )
}

function Bindings() {
  const live = useLive()
  const { snapshot } = live
  const rows = rowsOf(snapshot)
  const hasOwn = snapshot.bindings?.data !== undefined
  const told = useLoaded(hasOwn ? 'bindings' : null, () => get<readonly BindingStatus[]>('bindings'), 5_000)
  const errors = new Map(
    (told.data ?? []).flatMap(({ name, error }) => (error === undefined ? [] : [[name, error] as const])),
  )
  return (
    <Panel title="Bindings" aside={<small>{rows.length} seen from here</small>}>
      {snapshot.groups?.problem !== undefined && <Trouble problem={snapshot.groups.problem} />}
      <Table
        label="Bindings"
        rows={rows}
        keyOf={({ name }) => name}
        empty="No groups in the database's log, and no binder of this process. Give createConsole `bindings`, or `places` for another broker."
        columns={columnsOf(live, errors)}
      />
    </Panel>
  )
}

function columnsOf(live: Live, errors: ReadonlyMap<string, string>): readonly Column<Row>[] {
  return [
    { head: 'Binding', cell: (row) => <Name row={row} error={errors.get(row.name)} /> },
    { head: 'State', cell: (row) => <State row={row} /> },
    {
      head: 'Rate',
      number: true,
      cell: ({ name, own }) =>
        own === undefined ? (
          '-'
        ) : (
          <span class="moving">
            <Spark of={live.rates(`handled ${name}`)} label={`handled by ${name}, the last minutes`} />
            <b>{perSecond(live.rate(`handled ${name}`))}</b>
          </span>
        ),
    },
    { head: 'Errors', number: true, cell: (row) => <Errors row={row} /> },
    {
      head: 'Lag',
      number: true,
      cell: ({ name, line }) =>
        line === undefined ? (
          '-'
        ) : (
          <span class="moving">
            <Spark of={live.history(`lag ${name}`)} label={`lag of ${name}, the last minutes`} />
            <b>{count(line.lag)}</b>
          </span>
        ),
    },
    {
      head: 'Trend',
      number: true,
      cell: ({ name, line }) => (line === undefined ? '-' : <Trend rate={live.rate(`lag ${name}`)} />),
    },
    { head: 'Readers', number: true, cell: ({ line }) => count(line?.readers) },
    {
      head: 'Dead letters',
      number: true,
      cell: ({ channel, group, letters }) =>
        (letters ?? 0) > 0 ? (
          <a href={`#/letters?${new URLSearchParams({ channel, group: group ?? '' })}`}>{count(letters)}</a>
        ) : (
          count(letters)
        ),
    },
  ]
}

function Cards() {
  const live = useLive()
  const { snapshot } = live
  const { sagas, outbox, leaders, members } = snapshot
  const letters = lettersIn(snapshot)
  return (
    <div class="cards">
      <Card
        href="#/sagas?status=stuck"
        label="stuck sagas"
        value={sagas?.data?.stuck}
        tone={(sagas?.data?.stuck ?? 0) > 0 ? 'bad' : 'good'}
        problem={sagas?.problem}
      />
      <Card href="#/letters" label="dead letters" value={letters} tone={letters > 0 ? 'bad' : 'good'} />
      <Card
        href="#/outbox"
        label="parked messages"
        value={outbox?.data?.parked}
        tone={(outbox?.data?.parked ?? 0) > 0 ? 'bad' : 'good'}
        problem={outbox?.problem}
      />
      <Card
        href="#/outbox"
        label={
          (outbox?.data?.oldestAgeMs ?? 0) > 0
            ? `pending, oldest ${lasting(outbox?.data?.oldestAgeMs ?? 0)}`
            : 'pending in the outbox'
        }
        value={outbox?.data?.pending}
        tone={(outbox?.data?.oldestAgeMs ?? 0) > 60_000 ? 'warn' : 'info'}
        problem={outbox?.problem}
      >
        <Spark of={live.history('outbox')} label="pending, the last minutes" />
      </Card>
      <Card
        href="#/sagas?status=running"
        label="sagas under way"
        value={sagas?.data === undefined ? undefined : sagas.data.running + sagas.data.compensating}
        tone="info"
        problem={sagas?.problem}
      >
        <Spark of={live.history('sagas')} label="sagas under way, the last minutes" />
      </Card>
      <Card href="#/cluster" label="roles led" value={leaders?.data?.length} tone="info" problem={leaders?.problem} />
      {(members?.data?.length ?? 0) > 0 && (
        <Card
          href="#/cluster"
          label="members"
          value={members?.data?.reduce((sum, each) => sum + each.members.length, 0)}
          tone="info"
          problem={members?.problem}
        />
      )}
    </div>
  )
}

function Card(props: {
  href: string
  label: string
  value: number | undefined
  tone: Tone
  problem?: { readonly code: string; readonly message: string } | undefined
  children?: ComponentChildren
}) {
  const isAway = props.problem !== undefined
  const isAbsent = /missing/.test(props.problem?.code ?? '')
  return (
    <a
      class={`card ${isAway ? (isAbsent ? 'quiet' : 'bad') : props.tone}`}
      href={props.href}
      title={props.problem?.message}
    >
      <b>{isAbsent ? '-' : count(props.value)}</b>
      <span>{props.label}</span>
      {isAbsent ? <small>not set up here</small> : isAway ? <small>no answer now</small> : props.children}
    </a>
  )
}

function Name({ row, error }: { row: Row; error: string | undefined }) {
  return (
    <>
      <code>{row.channel}</code>
      <span class="group">{row.group === null ? 'each instance' : row.group}</span>
      {error !== undefined && <small class="error">{error}</small>}
    </>
  )
}

function State({ row: { own, line } }: { row: Row }) {
  if (own !== undefined)
    return (
      <>
        <Badge is={own.state} />
        {own.circuit !== undefined && own.circuit !== 'closed' && <Badge is={own.circuit}>breaker {own.circuit}</Badge>}
      </>
    )
  if (line === undefined) return <span class="quiet">unknown</span>
  if (line.readers > 0) return <Badge is="read" tone="good" />
  return <Badge is="nobody reads" tone={line.lag > 0 ? 'bad' : 'quiet'} />
}

function Errors({ row: { name, own } }: { row: Row }) {
  const live = useLive()
  if (own === undefined) return <>-</>
  const failed = live.rate(`failed ${name}`) ?? 0
  const all = (live.rate(`handled ${name}`) ?? 0) + failed
  const share = all <= 0 ? 0 : (100 * failed) / all
  return (
    <span
      class={share > 5 ? 'bad-text' : ''}
      title={`${own.deadLettered} dead letters, ${own.retried} sent back for later, since the start`}
    >
      {count(share)} %
    </span>
  )
}

function Trend({ rate }: { rate: number | undefined }) {
  if (rate === undefined || Math.abs(rate) < 0.1) return <span class="quiet">steady</span>
  return rate > 0 ? (
    <span class="bad-text">▲ {perSecond(rate)}</span>
  ) : (
    <span class="good-text">▼ {perSecond(-rate)}</span>
  )
}

function rowsOf({ groups, bindings, letters }: Snapshot): readonly Row[] {
  const rows = new Map<string, Row>()
  const dead = new Map<string, number>()
  for (const { channel, group, count: n } of letters?.data ?? []) dead.set(`${channel}.${group}`, n)
  for (const { channel, group, lag } of groups?.data ?? [])
    if (group === 'redrive') dead.set(channel.replace(/\.dlq$/, ''), lag)
  for (const line of groups?.data ?? []) {
    const name = `${line.channel}.${line.group}`
    if (line.group !== 'redrive') rows.set(name, { name, channel: line.channel, group: line.group, line })
  }
  for (const own of bindings?.data ?? []) {
    const known = rows.get(own.name)
    rows.set(own.name, { name: own.name, channel: own.channel, group: own.group, line: known?.line, own })
  }
  return [...rows.values()]
    .map((row) => ({ ...row, letters: dead.get(row.name) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}
