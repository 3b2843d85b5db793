/** Every instance of every service, as reported over the bus, and the bindings of one instance. */

import type { InstanceLine } from '@concordat/cli'
import { counted } from '@concordat/cli/words'
import type { WatchedBinding } from '../engine-types.ts'
import { useMay } from './action-dialog.tsx'
import { get } from './api.ts'
import { useLive } from './live.ts'
import { PauseOrResume, Sent } from './pause-resume.tsx'
import { Badge, type Column, count, lasting, Panel, perSecond, Table, Trouble } from './ui-components.tsx'
import { useLoaded } from './use-loaded.ts'

export function Instances() {
  return (
    <>
      <Listed />
      <Sent />
    </>
  )
}

function Listed() {
  const { instances } = useLive().snapshot
  const all = instances?.data
  const isMissing = /missing/.test(instances?.problem?.code ?? '')
  return (
    <Panel
      title="Instances"
      aside={
        all !== undefined && (
          <small>
            {all.instances.length === 0 ? 'unknown' : `${all.instances.length} on the bus`}
            {all.leftOut > 0 && `, ${counted(all.leftOut, 'more line is', 'more lines are')} not shown`}
          </small>
        )
      }
    >
      {instances?.problem !== undefined && !isMissing && <Trouble problem={instances.problem} />}
      {instances !== undefined && (
        <Table
          label="Instances"
          rows={all?.instances ?? []}
          keyOf={({ address }) => address}
          empty="Unknown: no instance reports over a bus. Give the services a bus; one that is signed needs its secret here as well."
          columns={COLUMNS}
        />
      )}
    </Panel>
  )
}

const COLUMNS: readonly Column<InstanceLine>[] = [
  {
    head: 'Instance',
    cell: ({ address }) => (
      <a href={`#/instances/${encodeURIComponent(address)}`}>
        <code>{address}</code>
      </a>
    ),
  },
  { head: 'State', cell: (line) => <State line={line} /> },
  { head: 'Rate', number: true, cell: ({ handledPerSecond }) => perSecond(handledPerSecond) },
  {
    head: 'Failed',
    number: true,
    cell: ({ failedPerSecond }) => (
      <span class={failedPerSecond > 0 ? 'bad-text' : ''}>{perSecond(failedPerSecond)}</span>
    ),
  },
  { head: 'In hand', number: true, cell: ({ running, queued }) => `${count(running)} + ${count(queued)}` },
  { head: 'Bindings', number: true, cell: ({ bindings }) => count(bindings) },
  { head: 'CPU', number: true, cell: ({ cpu }) => `${count(100 * cpu)} %` },
  { head: 'Memory', number: true, cell: ({ memoryBytes }) => `${count(memoryBytes / 1_048_576)} MiB` },
  { head: 'Runs for', number: true, cell: ({ uptimeMs }) => lasting(uptimeMs) },
]

function State({ line: { notRunning, openCircuits, slow, blockedMs, isBlocked, ageMs } }: { line: InstanceLine }) {
  return (
    <>
      {notRunning.length === 0 ? (
        <Badge is="running" />
      ) : (
        <Badge is="not running" tone="warn">
          {notRunning.slice(0, 3).join(', ')}
          {notRunning.length > 3 && ` and ${notRunning.length - 3} more`} not running
        </Badge>
      )}
      {openCircuits > 0 && <Badge is="open">{openCircuits} breaker open</Badge>}
      {slow.length > 0 && (
        <Badge is="hangs" tone="bad">
          a handler call hangs: {slow.slice(0, 3).join(', ')}
        </Badge>
      )}
      {isBlocked && (
        <Badge is="blocked" tone="bad">
          blocked {lasting(blockedMs)} of the last minute
        </Badge>
      )}
      {ageMs > 4_500 && <small class="quiet"> heard {lasting(ageMs)} ago</small>}
    </>
  )
}

export function Instance({ address }: { address: string }) {
  const may = [useMay('binding.pause'), useMay('binding.resume')].includes(true)
  const { data, problem, again } = useLoaded(
    `instance ${address}`,
    () => get<readonly WatchedBinding[]>('instance', { address }),
    2_000,
  )
  return (
    <Panel title={`Bindings of ${address}`} id="instance" aside={<a href="#/instances">All instances</a>}>
      {problem !== undefined && <Trouble problem={problem} again={again} />}
      {data !== undefined && (
        <Table
          label={`Bindings of ${address}`}
          rows={data}
          keyOf={({ name }) => name}
          empty="It has no bindings: it only sends."
          columns={may ? [...BINDING_COLUMNS, settle(address, again)] : BINDING_COLUMNS}
        />
      )}
    </Panel>
  )
}

const BINDING_COLUMNS: readonly Column<WatchedBinding>[] = [
  {
    head: 'Binding',
    cell: ({ name, kind }) => (
      <>
        <code>{name}</code> <small class="quiet">{kind}</small>
      </>
    ),
  },
  {
    head: 'State',
    cell: ({ state, circuit }) => (
      <>
        <Badge is={state} />
        {circuit !== undefined && circuit !== 'closed' && <Badge is={circuit}>breaker {circuit}</Badge>}
      </>
    ),
  },
  { head: 'Rate', number: true, cell: ({ handledPerSecond }) => perSecond(handledPerSecond) },
  { head: 'Failed', number: true, cell: ({ failedPerSecond }) => perSecond(failedPerSecond) },
  { head: 'In hand', number: true, cell: ({ running, queued }) => `${count(running)} + ${count(queued)}` },
  { head: 'Handled', number: true, cell: ({ handled }) => count(handled) },
  { head: 'Dead letters', number: true, cell: ({ deadLettered }) => count(deadLettered) },
  { head: 'Retries', number: true, cell: ({ retried }) => count(retried) },
  { head: 'Dropped', number: true, cell: ({ dropped }) => count(dropped) },
]

function settle(address: string, after: () => void): Column<WatchedBinding> {
  return {
    head: 'Settle',
    cell: ({ name, state }) => <PauseOrResume binding={name} to={address} states={[state]} after={after} />,
  }
}
