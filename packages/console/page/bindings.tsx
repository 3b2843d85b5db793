/** Every known binding: from reports of instances, from the log in the database, and from this process. */

import type { BindingLine, GroupLine } from '@concordat/cli'
import { counted } from '@concordat/cli/words'
import type { BindingStatus } from '../engine-types.ts'
import type { LiveBinding, Snapshot } from '../snapshot.ts'
import { useMay } from './action-dialog.tsx'
import { get } from './api.ts'
import { keyOf, type LettersSeen, type Live, lettersOf, useLive } from './live.ts'
import { PauseOrResume } from './pause-resume.tsx'
import { Badge, type Column, count, Panel, perSecond, Spark, Table, Trouble } from './ui-components.tsx'
import { useLoaded } from './use-loaded.ts'

/** A binding, as far as it is known here. */
interface Row {
  /** Key of its history of values. */
  readonly key: string
  readonly name: string
  readonly channel: string
  readonly group: string | null
  /** In the log of the database. */
  readonly line?: GroupLine | undefined
  /** Counters of this process. */
  readonly own?: LiveBinding | undefined
  /** Counters of all instances. */
  readonly all?: BindingLine | undefined
  readonly letters?: Pick<LettersSeen, 'count' | 'isCut'> | undefined
}

export function Bindings() {
  const live = useLive()
  const { snapshot } = live
  const rows = rowsOf(snapshot)
  const may = [useMay('binding.pause'), useMay('binding.resume')].includes(true)
  const hasOwn = snapshot.bindings?.data !== undefined
  const told = useLoaded(hasOwn ? 'bindings' : null, () => get<readonly BindingStatus[]>('bindings'), 5_000)
  const errors = new Map(
    (told.data ?? []).flatMap(({ name, error }) => (error === undefined ? [] : [[name, error] as const])),
  )
  const { groups, instances } = snapshot
  const isAway = instances?.problem !== undefined && !/missing/.test(instances.problem.code)
  return (
    <Panel title="Bindings" aside={<small>{asideOf(rows.length, snapshot)}</small>}>
      {groups?.problem !== undefined && <Trouble problem={groups.problem} />}
      {isAway && <Trouble problem={instances.problem as NonNullable<typeof instances.problem>} />}
      <Table
        label="Bindings"
        rows={rows}
        keyOf={({ key }) => key}
        empty="No groups in the database's log, no instance on a bus, and no binder of this process. Give the services a bus, or createConsole `bindings` or `places`."
        columns={
          may && rows.some(({ all }) => all !== undefined)
            ? [...columnsOf(live, errors), SETTLE]
            : columnsOf(live, errors)
        }
      />
    </Panel>
  )
}

function asideOf(rows: number, { instances }: Snapshot): string {
  const all = instances?.data
  if (all === undefined) return `${rows} seen from here`
  const more = all.leftOut === 0 ? '' : `, ${counted(all.leftOut, 'more is', 'more are')} not shown`
  const n = all.instances.length
  // Before the first report, only the bindings of the console's own process are known.
  return n === 0 ? `${rows}${more}` : `${rows}, of ${n} ${n === 1 ? 'instance' : 'instances'}${more}`
}

export function columnsOf(live: Live, errors: ReadonlyMap<string, string>): readonly Column<Row>[] {
  return [
    { head: 'Binding', cell: (row) => <Name row={row} error={errors.get(row.name)} /> },
    { head: 'State', cell: (row) => <State row={row} /> },
    { head: 'Rate', number: true, cell: (row) => <Rate row={row} live={live} /> },
    { head: 'Errors', number: true, cell: (row) => <Errors row={row} /> },
    { head: 'Retries', number: true, cell: ({ all, own }) => count((all ?? own)?.retried) },
    {
      head: 'Lag',
      number: true,
      cell: ({ key, name, line, all }) =>
        (line?.lag ?? all?.lag) === undefined ? (
          '-'
        ) : (
          <span class="moving">
            <Spark of={live.history(`lag ${key}`)} label={`lag of ${name}, the last minutes`} />
            <b>{count(line?.lag ?? all?.lag, line?.isCut)}</b>
          </span>
        ),
    },
    {
      head: 'Trend',
      number: true,
      cell: ({ key, line, all }) =>
        (line?.lag ?? all?.lag) === undefined ? (
          '-'
        ) : (
          // A cut lag has no known trend: its count stays at the limit.
          <Trend rate={line?.isCut === true ? undefined : live.rate(`lag ${key}`)} />
        ),
    },
    { head: 'Readers', number: true, cell: ({ line, all }) => count(all?.instances ?? line?.readers) },
    {
      head: 'Dead letters',
      number: true,
      cell: ({ channel, group, letters }) =>
        (letters?.count ?? 0) > 0 ? (
          <a href={`#/letters?${new URLSearchParams({ channel, group: group ?? '' })}`}>
            {count(letters?.count, letters?.isCut)}
          </a>
        ) : (
          count(letters?.count)
        ),
    },
  ]
}

/** Sent over the bus, so only for bindings that report there. */
const SETTLE: Column<Row> = {
  head: 'Settle',
  cell: ({ all }) =>
    all !== undefined && <PauseOrResume binding={all.name} to={`${all.service}:**`} states={Object.keys(all.states)} />,
}

function Name({ row, error }: { row: Row; error: string | undefined }) {
  return (
    <>
      <code>{row.channel}</code>
      <span class="group">{row.group === null ? 'each instance' : row.group}</span>
      {row.all !== undefined && row.all.service !== row.group && <small class="quiet"> in {row.all.service}</small>}
      {error !== undefined && <small class="error">{error}</small>}
    </>
  )
}

function State({ row: { own, line, all } }: { row: Row }) {
  if (all !== undefined)
    return (
      <>
        {Object.entries(all.states).map(([state, n]) => (
          <Badge is={state} key={state}>
            {n === 1 && all.instances === 1 ? state : `${n} ${state}`}
          </Badge>
        ))}
        {Object.entries(all.circuits)
          .filter(([circuit]) => circuit !== 'closed')
          .map(([circuit, n]) => (
            <Badge is={circuit} key={circuit}>
              {n} breaker {circuit}
            </Badge>
          ))}
      </>
    )
  if (own !== undefined)
    return (
      <>
        <Badge is={own.state} />
        {own.circuit !== undefined && own.circuit !== 'closed' && <Badge is={own.circuit}>breaker {own.circuit}</Badge>}
      </>
    )
  if (line === undefined) return <span class="quiet">unknown</span>
  if (line.readers > 0) return <Badge is="read" tone="good" />
  return <Badge is="no readers" tone={line.lag > 0 ? 'bad' : 'quiet'} />
}

function Rate({ row: { key, name, own, all }, live }: { row: Row; live: Live }) {
  const label = `handled by ${name}, the last minutes`
  if (all !== undefined)
    return (
      <span class="moving">
        <Spark of={live.history(`rate ${key}`)} label={label} />
        <b>{perSecond(all.handledPerSecond)}</b>
      </span>
    )
  if (own === undefined) return <>-</>
  return (
    <span class="moving">
      <Spark of={live.rates(`handled ${name}`)} label={label} />
      <b>{perSecond(live.rate(`handled ${name}`))}</b>
    </span>
  )
}

function Errors({ row: { name, own, all } }: { row: Row }) {
  const live = useLive()
  const known = all ?? own
  if (known === undefined) return <>-</>
  const failed = all?.failedPerSecond ?? live.rate(`failed ${name}`) ?? 0
  const good = all?.handledPerSecond ?? live.rate(`handled ${name}`) ?? 0
  const share = good + failed <= 0 ? 0 : (100 * failed) / (good + failed)
  return (
    <span
      class={share > 5 ? 'bad-text' : ''}
      title={`${counted(known.deadLettered, 'dead letter')}, ${known.retried} sent back for later, since the start`}
    >
      {count(share)} %
    </span>
  )
}

function Trend({ rate }: { rate: number | undefined }) {
  if (rate === undefined) return <span class="quiet">unknown</span>
  if (Math.abs(rate) < 0.1) return <span class="quiet">steady</span>
  return rate > 0 ? (
    <span class="bad-text">▲ {perSecond(rate)}</span>
  ) : (
    <span class="good-text">▼ {perSecond(-rate)}</span>
  )
}

/** Reports of instances override the state of this process. */
export function rowsOf(snapshot: Snapshot): readonly Row[] {
  const { groups, bindings, instances } = snapshot
  const rows = new Map<string, Row>()
  for (const line of groups?.data ?? []) {
    const { channel, group } = line
    const key = keyOf(line)
    if (group !== 'redrive') rows.set(key, { key, name: `${channel}.${group}`, channel, group, line })
  }
  for (const own of bindings?.data ?? []) {
    const { name, channel, group } = own
    const key = group === null ? name : keyOf({ channel, group })
    rows.set(key, { key, name, channel, group, line: rows.get(key)?.line, own })
  }
  for (const all of instances?.data?.bindings ?? []) {
    const { name, channel, group } = all
    const ownKey = group === null ? name : keyOf({ channel, group })
    const known = rows.get(ownKey)
    // Two services may have anonymous bindings of one channel, or groups with the same name.
    const key = known?.all === undefined && group !== null ? ownKey : `${all.service} ${name}`
    if (group === null) rows.delete(name)
    rows.set(key, { key, name, channel, group, line: known?.line, own: known?.own, all })
  }
  return [...rows.values()]
    .map((row) => ({ ...row, letters: lettersOf(snapshot, row) }))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
}
