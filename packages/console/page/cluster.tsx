/** Leaders and members. */
import type { LeaderLine } from '@concordat/cli'
import { Act, type Order } from './action-dialog.tsx'
import { useLive } from './live.ts'
import { Ago, Badge, Cut, lasting, Panel, Table, Trouble } from './ui-components.tsx'

/** Limit of `Operator.leaders.list`. */
export const MOST_LEADERS = 1_000

export function Cluster() {
  const { leaders, members } = useLive().snapshot
  return (
    <>
      <Panel title="Leaders">
        {leaders?.problem !== undefined && <Trouble problem={leaders.problem} />}
        <Table
          label="Leaders"
          rows={leaders?.data ?? []}
          keyOf={({ role }) => role}
          empty={leaders?.data === undefined ? 'Looking...' : 'No role is led.'}
          columns={[
            { head: 'Role', cell: ({ role }) => <code>{role}</code> },
            { head: 'Leader', cell: ({ instance }) => <b>{instance}</b> },
            { head: 'Term', number: true, cell: ({ term }) => <code>{term}</code> },
            { head: 'Since', number: true, cell: ({ sinceAt }) => <Ago at={sinceAt} /> },
            { head: 'Ends in', number: true, cell: ({ expiresInMs }) => lasting(expiresInMs) },
            { head: 'Next in line', cell: ({ candidates }) => candidates.join(', ') || '-' },
            { head: 'Settle', cell: (line) => <StepDown line={line} /> },
          ]}
        />
        <Cut rows={leaders?.data} most={MOST_LEADERS} how=": npx concordat locks list --keys election/PREFIX" />
      </Panel>
      {members?.problem !== undefined && <Trouble problem={members.problem} />}
      {(members?.data ?? []).map(({ cluster, members: all }) => (
        <Panel title={`Members of ${cluster}`} key={cluster}>
          <Table
            label={`Members of ${cluster}`}
            rows={all}
            keyOf={({ instance }) => instance}
            empty="No members."
            columns={[
              { head: 'Instance', cell: ({ instance }) => <b>{instance}</b> },
              { head: 'Status', cell: ({ status }) => <Badge is={status} /> },
              { head: 'Service', cell: ({ service }) => service ?? '-' },
              { head: 'Group', cell: ({ group }) => group ?? '-' },
              { head: 'Generation', number: true, cell: ({ generation }) => generation },
              { head: 'Joined', number: true, cell: ({ joinedAt }) => <Ago at={joinedAt} /> },
            ]}
          />
        </Panel>
      ))}
      {members?.data?.length === 0 && (
        <p class="note">Name the clusters for their members: createConsole's `clusters`, or --cluster.</p>
      )}
    </>
  )
}

function StepDown({ line: { role, instance, term, candidates } }: { line: LeaderLine }) {
  const order = (): Order => ({
    title: 'End the term',
    about: (
      <p>
        Ends the term of <b>{instance}</b> as <code>{role}</code> now.{' '}
        {candidates.length === 0 ? 'No candidate is waiting: it may lead again.' : 'The next in line leads.'}
      </p>
    ),
    route: 'leader',
    body: { role, tokens: [term] },
    danger: true,
  })
  return (
    <Act action="leader.step-down" small order={order}>
      End the term
    </Act>
  )
}
