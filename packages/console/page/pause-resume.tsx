/** Pauses and resumes bindings of instances over the bus, and shows the outcome. */
import type { AuditLine } from '@concordat/cli'
import { Act, type Order } from './action-dialog.tsx'
import { get } from './api.ts'
import { Ago, Button, Panel, Table, Trouble } from './ui-components.tsx'
import { useLoaded } from './use-loaded.ts'

interface Answers {
  readonly acked: readonly string[]
  readonly failed: ReadonlyArray<{ readonly address: string; readonly code: string }>
  readonly ignored: readonly string[]
  readonly missing: readonly string[]
}

/** @param to a service as `shop:**`, or the address of an instance */
export function PauseOrResume(props: { binding: string; to: string; states: readonly string[]; after?: () => void }) {
  const { binding, to, states, after } = props
  const isAll = to.endsWith(':**')
  const who = isAll ? `every instance of ${to.slice(0, -':**'.length)}` : to
  const order = (verb: 'pause' | 'resume', title: string, about: string) => (): Order => ({
    title,
    about: (
      <p>
        <code>{binding}</code> of {who}: {about}
      </p>
    ),
    route: 'binding',
    body: { do: verb, binding, to },
    told: (result) => `${title}: ${answersOf(result as Answers)}`,
    after,
  })
  return (
    <span class="buttons left">
      {states.some((state) => state === 'running' || state === 'connecting') && (
        <Act
          action="binding.pause"
          small
          order={order(
            'pause',
            'Pause the binding',
            'it ends what it has in hand and takes nothing more, until it is resumed here or its process is started again. Its messages wait.',
          )}
        >
          Pause
        </Act>
      )}
      {states.includes('paused') && (
        <Act action="binding.resume" small order={order('resume', 'Resume the binding', 'it takes messages again.')}>
          Resume
        </Act>
      )}
    </span>
  )
}

function answersOf({ acked, failed, ignored, missing }: Answers): string {
  const said = [
    `${acked.length} did it`,
    ...failed.map(({ address, code }) => `${address} refused (${code})`),
    ...ignored.map((address) => `${address} has no handler`),
    ...missing.map((address) => `${address} did not answer: it may have done it or not`),
  ]
  return said.join('; ')
}

/** The last events that operators sent, with the replies. */
export function Sent() {
  // The audit reads all timelines, so it is read on request only.
  const { data, problem, again } = useLoaded('sent', () => get<readonly AuditLine[]>('audit', { limit: 200 }))
  const lines = (data ?? []).filter(({ part }) => part === 'bus').slice(0, 10)
  return (
    <Panel
      title="Sent over the bus"
      aside={
        <Button class="small" onClick={again}>
          Look again
        </Button>
      }
    >
      {problem !== undefined && <Trouble problem={problem} again={again} />}
      {data !== undefined && (
        <Table
          label="Sent over the bus"
          rows={lines.map((line, n) => ({ ...line, n }))}
          keyOf={({ n }) => String(n)}
          empty="No recent events."
          columns={[
            { head: 'When', cell: ({ at }) => <Ago at={at} /> },
            { head: 'Who', cell: ({ by }) => <b>{by}</b> },
            { head: 'Event', cell: ({ action }) => action.replace(/^concordat\./, '') },
            { head: 'To', cell: ({ target }) => <code>{target}</code> },
            { head: 'Why', cell: ({ reason }) => reason },
            { head: 'Answers', cell: ({ outcome }) => outcome ?? 'not known' },
          ]}
        />
      )}
    </Panel>
  )
}
