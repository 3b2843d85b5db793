/** Services and channels as a picture, with the lag at each edge. */

import { counted } from '@concordat/cli/words'
import type { SystemTopology } from 'concordat/operator'
import type { PipelineStage } from '../engine-types.ts'
import { get } from './api.ts'
import { keyOf, useLive } from './live.ts'
import { PartialGroups } from './partial-groups.tsx'
import { layOut, type Node, type Picture } from './topology-layout.ts'
import { count, Panel, Table, Trouble } from './ui-components.tsx'
import { useLoaded } from './use-loaded.ts'

export function Topology() {
  const { data, problem, again } = useLoaded('topology', () => get<SystemTopology | null>('topology'))
  if (problem !== undefined) return <Trouble problem={problem} again={again} />
  if (data === undefined) return null
  if (data === null)
    return (
      <p class="empty">
        Nothing is declared here. Give createConsole <code>services</code>, or name the module: npx concordat console
        concordat.config.ts
      </p>
    )
  return (
    <>
      <Panel title="Picture" aside={<small>numbers are messages that wait</small>}>
        <Drawing picture={layOut(data)} />
      </Panel>
      <Channels channels={data.channels} />
      <Pipelines services={data.services} />
      <Sagas services={data.services} />
    </>
  )
}

function Channels({ channels }: Pick<SystemTopology, 'channels'>) {
  return (
    <Panel title="Channels">
      <Table
        label="Channels"
        rows={channels.filter(({ role }) => role === 'channel' || role === 'replies')}
        keyOf={({ name }) => name}
        empty="No channels."
        columns={[
          { head: 'Channel', cell: ({ name }) => <code>{name}</code> },
          { head: 'From', cell: ({ senders }) => senders.join(', ') || '-' },
          {
            head: 'To',
            cell: ({ readers }) =>
              readers.map(({ service, group }) => (group === null ? service : `${service} (${group})`)).join(', ') ||
              '-',
          },
          { head: 'Partitions', number: true, cell: ({ partitions }) => partitions },
        ]}
      />
    </Panel>
  )
}

function Pipelines({ services }: Pick<SystemTopology, 'services'>) {
  const rows = services.flatMap(({ name: service, pipelines }) =>
    pipelines.flatMap(({ name, parts }) => parts.map((part) => ({ ...part, name, service }))),
  )
  if (rows.length === 0) return null
  return (
    <Panel title="Pipelines">
      <Table
        label="Pipelines"
        rows={rows}
        keyOf={({ service, binding }) => `${service} ${binding}`}
        empty="No pipelines are declared."
        columns={[
          { head: 'Pipeline', cell: ({ name }) => name },
          { head: 'Service', cell: ({ service }) => service },
          { head: 'From', cell: ({ input }) => <code>{input}</code> },
          { head: 'Stages', cell: ({ stages }) => <Stages stages={stages} /> },
        ]}
      />
    </Panel>
  )
}

function Stages({ stages }: { stages: readonly PipelineStage[] }) {
  return (
    <ol class="steps">
      {stages.map(({ kind, label, ways }, n) => (
        <li key={`${n} ${kind}`}>
          {kind} {label}
          {ways.map((way) => (
            <div key={way.name}>
              {way.name}: <Stages stages={way.stages} />
            </div>
          ))}
        </li>
      ))}
    </ol>
  )
}

function Sagas({ services }: Pick<SystemTopology, 'services'>) {
  return (
    <Panel title="Sagas">
      <Table
        label="Sagas"
        rows={services.flatMap(({ name: service, sagas }) => sagas.map((saga) => ({ ...saga, service })))}
        keyOf={({ service, name, version }) => `${service} ${name} ${version}`}
        empty="No sagas are declared."
        columns={[
          {
            head: 'Saga',
            cell: ({ name, version }) => (
              <a href={`#/sagas?${new URLSearchParams({ saga: name })}`}>
                {name} <small>v{version}</small>
              </a>
            ),
          },
          { head: 'Service', cell: ({ service }) => service },
          {
            head: 'Steps',
            cell: ({ steps }) => (
              <ol class="steps">
                {steps.map(({ name, kind, pivot, compensates }) => (
                  <li
                    class={pivot ? 'pivot' : ''}
                    title={`${kind}${compensates ? ', can be undone' : ''}${pivot ? ', the point of no return' : ''}`}
                    key={name}
                  >
                    {name}
                    {pivot ? ' *' : ''}
                  </li>
                ))}
              </ol>
            ),
          },
        ]}
      />
    </Panel>
  )
}

function Drawing({ picture }: { picture: Picture }) {
  const { snapshot } = useLive()
  const all = snapshot.groups?.data ?? []
  const lags = new Map(all.map((line) => [keyOf(line), line.lag]))
  const { nodes, edges, width, height } = picture
  const label = `${counted(nodes.filter(({ kind }) => kind === 'service').length, 'service')} and ${counted(nodes.filter(({ kind }) => kind === 'channel').length, 'channel')}; the tables below say the same`
  return (
    <div class="scroll" role="region" aria-label="Picture of the topology" tabIndex={0}>
      <PartialGroups />
      <svg
        class="topology"
        viewBox={`0 0 ${width} ${height}`}
        width={width}
        height={height}
        role="img"
        aria-label={label}
      >
        <defs>
          <marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
            <path d="M0 0 8 4 0 8z" />
          </marker>
        </defs>
        {edges.map((edge) => (
          <path
            class={`edge ${(lags.get(edge.binding ?? '') ?? 0) > 0 ? 'busy' : ''}`}
            d={edge.path}
            marker-end="url(#arrow)"
            key={`${edge.from} ${edge.to} ${edge.binding}`}
          >
            <title>{edge.said}</title>
          </path>
        ))}
        {nodes.map((node) => (
          <Box
            node={node}
            waiting={node.groups.reduce((sum, group) => sum + (lags.get(keyOf({ channel: node.name, group })) ?? 0), 0)}
            isCut={all.some(
              ({ channel, group, isCut }) => channel === node.name && node.groups.includes(group) && isCut,
            )}
            key={`${node.kind} ${node.name}`}
          />
        ))}
      </svg>
    </div>
  )
}

function Box({ node, waiting, isCut }: { node: Node; waiting: number; isCut: boolean }) {
  const { kind, name, x, y, width, height, below } = node
  return (
    <g class={`node ${kind}`} transform={`translate(${x} ${y})`}>
      <rect width={width} height={height} rx={kind === 'service' ? 8 : height / 2} />
      <text x={width / 2} y={below === '' ? height / 2 + 4 : height / 2 - 3} text-anchor="middle">
        {name.length > 24 ? `${name.slice(0, 23)}…` : name}
        <title>{name}</title>
      </text>
      {below !== '' && (
        <text class="below" x={width / 2} y={height / 2 + 13} text-anchor="middle">
          {below}
        </text>
      )}
      {waiting > 0 && (
        <g class="lag" transform={`translate(${width - 6} 0)`}>
          <rect x={-18} y={-9} width={36} height={18} rx={9} />
          <text x={0} y={4} text-anchor="middle">
            {count(waiting, isCut)}
          </text>
        </g>
      )}
    </g>
  )
}
