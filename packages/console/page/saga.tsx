/** A saga: its state, its history, and the actions on it. */

import type { SagaStepView, SagaView } from '@concordat/cli'
import { counted, failureName } from '@concordat/cli/words'
import { useState } from 'preact/hooks'
import type { ConsoleAction } from '../access.ts'
import type { SagaActionResult } from '../engine-types.ts'
import type { PayloadView } from '../redacted-views.ts'
import { Act, type Order, useMay } from './action-dialog.tsx'
import { get, post, Refused } from './api.ts'
import { Timeline } from './timeline.tsx'
import { Ago, Badge, Button, Copy, Json, Panel, Table, Trouble } from './ui-components.tsx'
import { useLoaded } from './use-loaded.ts'

const WAITS: Readonly<Record<string, string>> = {
  call: 'its call, which an instance has in hand',
  reply: 'the reply to its message',
  retry: 'its next attempt',
  operator: 'you',
  time: 'its time',
  signal: 'a signal from outside',
  plan: 'the definition, to plan it',
}

export function Saga({ saga, id }: { saga: string; id: string }) {
  const { data, problem, again } = useLoaded(`${saga}/${id}`, () => get<SagaView>('saga', { saga, id }), 2_000)
  return (
    <>
      <p class="back">
        <a href="#/sagas">All sagas</a>
      </p>
      {problem !== undefined && <Trouble problem={problem} again={again} />}
      {data !== undefined && <Whole view={data} again={again} />}
    </>
  )
}

function Whole({ view, again }: { view: SagaView; again: () => void }) {
  return (
    <>
      <Hero view={view} again={again} />
      <Panel title="Timeline" aside={<small>long pauses are drawn short</small>}>
        <Timeline view={view} />
      </Panel>
      <Steps steps={view.steps} />
      <History timeline={view.timeline} />
      <Payloads saga={view.saga} id={view.id} />
    </>
  )
}

function Hero({ view, again }: { view: SagaView; again: () => void }) {
  const { saga, id, version, status, failure, owner, startedAt, changedAt, steps, pending } = view
  return (
    <section class="panel hero" aria-labelledby="saga-name">
      <header>
        <h2 id="saga-name">
          <code>
            {saga}/{id}
          </code>
        </h2>
        <Badge is={status} />
        <Copy text={`${saga}/${id}`} />
      </header>
      <p class="facts">
        version {version}, started <Ago at={startedAt} />, changed <Ago at={changedAt} />
        {owner !== null && (
          <>
            , in the hands of <code>{owner}</code>
          </>
        )}
      </p>
      {failure !== null && (
        <p class="failure">
          <code>{failureName(failure)}</code> at <b>{failure.step}</b>: {failure.message}
        </p>
      )}
      {steps
        .filter(({ wait }) => wait !== undefined)
        .map(({ step, wait }) => (
          <p class="waits" key={step}>
            <b>{step}</b> waits for {WAITS[wait ?? ''] ?? wait}.
          </p>
        ))}
      {pending.map(({ action, by, reason }) => (
        <p class="waits" key={`${action} ${by}`}>
          <b>{action}</b> of {by} ({reason}) waits for an instance that has this version.
        </p>
      ))}
      <Actions view={view} again={again} />
    </section>
  )
}

function Steps({ steps }: Pick<SagaView, 'steps'>) {
  return (
    <Panel title="Steps">
      <Table
        label="Steps"
        rows={steps.map((step, n) => ({ ...step, n }))}
        keyOf={({ n }) => String(n)}
        empty="It has no steps yet."
        columns={[
          { head: 'Step', cell: ({ step }) => <code>{step}</code> },
          { head: 'Status', cell: ({ status }) => <Badge is={status} /> },
          { head: 'Attempts', number: true, cell: ({ tried }) => tried },
          { head: 'Waits for', cell: ({ wait }) => (wait === undefined ? '-' : (WAITS[wait] ?? wait)) },
          {
            head: 'Error',
            cell: ({ error }: SagaStepView) =>
              error === undefined ? (
                '-'
              ) : (
                <span>
                  {error.code !== 'Error' && <code>{error.code}</code>} {error.message}
                </span>
              ),
          },
        ]}
      />
    </Panel>
  )
}

function History({ timeline }: Pick<SagaView, 'timeline'>) {
  return (
    <Panel title="History" aside={<small>{counted(timeline.length, 'line')}</small>}>
      <Table
        label="History"
        rows={timeline.map((entry, n) => ({ ...entry, n }))}
        keyOf={({ n }) => String(n)}
        empty="Nothing yet."
        columns={[
          {
            head: 'When',
            cell: ({ at }) => (
              <time dateTime={new Date(at).toISOString()}>{new Date(at).toISOString().replace(/[TZ]/g, ' ')}</time>
            ),
          },
          { head: 'What', cell: ({ kind }) => kind },
          { head: 'Step', cell: ({ step }) => step ?? '' },
          {
            head: 'Details',
            cell: ({ detail }) =>
              Object.entries(detail ?? {})
                .filter(([name]) => name !== 'request')
                .map(([name, value]) => `${name}: ${value}`)
                .join(', '),
          },
        ]}
      />
    </Panel>
  )
}

const ABOUT = {
  retry: 'Calls the step again on which it is stuck, with all its attempts.',
  skip: 'Takes the step as done (or as undone, on the way back) without calling it, and goes on.',
  compensate: 'The step certainly did not happen: what came before it is undone.',
  cancel: 'Turns it back: what was done is undone.',
} as const

function Actions({ view, again }: { view: SagaView; again: () => void }) {
  const { saga, id, status, steps, pending, timesStuck } = view
  const order = (verb: keyof typeof ABOUT, title: string): Order => ({
    title,
    about: <p>{ABOUT[verb]}</p>,
    route: 'saga',
    body: { saga, id, do: verb, timesStuck },
    danger: verb === 'cancel' || verb === 'compensate',
    told: (result) => toldOf(title, result as SagaActionResult),
    after: again,
  })
  const resolve = (outcome: 'completed' | 'compensated'): Order => ({
    title: `Resolve as ${outcome}`,
    about: <p>Ends it: the rest was settled by hand, as {outcome}. Nothing more is called.</p>,
    route: 'saga',
    body: { saga, id, do: 'resolve', outcome, timesStuck },
    danger: true,
    typed: id,
    told: (result) => toldOf('Resolve', result as SagaActionResult),
    after: again,
  })
  const button = (action: ConsoleAction, label: string, make: () => Order) => (
    <Act action={action} order={make} key={label}>
      {label}
    </Act>
  )
  if (pending.length > 0) return null
  const isForward = steps.some((step) => step.wait === 'operator' && step.status === 'invoking')
  return (
    <div class="buttons left">
      {status === 'stuck' && [
        button('saga.retry', 'Retry', () => order('retry', 'Retry')),
        button('saga.skip', 'Skip', () => order('skip', 'Skip')),
        isForward && button('saga.compensate', 'Compensate', () => order('compensate', 'Compensate')),
        button('saga.resolve', 'Resolve as completed', () => resolve('completed')),
        button('saga.resolve', 'Resolve as compensated', () => resolve('compensated')),
      ]}
      {status === 'running' && button('saga.cancel', 'Cancel', () => order('cancel', 'Cancel'))}
    </div>
  )
}

function toldOf(title: string, { outcome, status }: SagaActionResult): string {
  if (outcome === 'waiting') return `${title}: in its row, until an instance with its version takes it up`
  return `${title}: ${outcome}, now ${status}`
}

/** Loaded on request only: the audit records each reading. */
function Payloads({ saga, id }: { saga: string; id: string }) {
  const may = useMay('payloads')
  const [shown, setShown] = useState<PayloadView>()
  const [problem, setProblem] = useState<Refused>()
  const look = (): void => {
    post<PayloadView>('payload', { of: 'saga', saga, id }).then(
      setShown,
      (error: unknown) => error instanceof Refused && setProblem(error),
    )
  }
  return (
    <Panel title="Input and results">
      {!may && <p class="empty">Hidden: you may not see payloads here.</p>}
      {may && shown === undefined && <Button onClick={look}>Show, and keep in the audit that I looked</Button>}
      {problem !== undefined && <Trouble problem={problem} />}
      {shown !== undefined && (
        <>
          <h3>Input</h3>
          <Json value={shown.input ?? null} />
          {shown.results?.map(({ step, result }) => (
            <div key={step}>
              <h3>Result of {step}</h3>
              <Json value={result ?? null} />
            </div>
          ))}
        </>
      )}
    </Panel>
  )
}
