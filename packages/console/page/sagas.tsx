/** Sagas by filter, a page at a time, and actions on many of them. */

import type { SagaLine, SagaPage } from '@concordat/cli'
import { counted, failureName } from '@concordat/cli/words'
import { useContext, useEffect, useState } from 'preact/hooks'
import type { AllowedBulkReport } from '../action-routes.ts'
import { AskContext, useMay } from './action-dialog.tsx'
import { get, post, Refused } from './api.ts'
import { queryInHash } from './hash-query.ts'
import { useLive } from './live.ts'
import { Ago, Badge, Button, count, Field, Panel, Table, Trouble } from './ui-components.tsx'
import { useLoaded } from './use-loaded.ts'

const STATUSES = ['', 'stuck', 'running', 'compensating', 'completed', 'compensated'] as const
const OPEN: ReadonlySet<string> = new Set(['stuck', 'running', 'compensating'])
const PAGE = 50

interface Filter {
  readonly status: string
  readonly saga: string
  readonly idPrefix: string
  readonly code: string
  readonly order: 'newest' | 'oldest'
}

export function Sagas() {
  const given = queryInHash()
  const [filter, setFilter] = useState<Filter>({
    status: given.get('status') ?? '',
    saga: given.get('saga') ?? '',
    idPrefix: given.get('idPrefix') ?? '',
    code: given.get('code') ?? '',
    order: 'newest',
  })
  // Cursors of the pages before this one.
  const [pages, setPages] = useState<readonly string[]>([])
  useEffect(() => {
    const changed = (): void => {
      const asked = queryInHash().get('status')
      if (asked !== null) set({ status: asked })
    }
    window.addEventListener('hashchange', changed)
    return () => window.removeEventListener('hashchange', changed)
  })
  const set = (change: Partial<Filter>): void => {
    setFilter({ ...filter, ...change })
    setPages([])
  }
  // No index covers ended sagas.
  const everyMs = OPEN.has(filter.status) ? 5_000 : 20_000
  const query = { ...filter, after: pages.at(-1), limit: PAGE }
  const { data, problem, busy, again } = useLoaded(JSON.stringify(query), () => get<SagaPage>('sagas', query), everyMs)
  return (
    <>
      <Counts chosen={filter.status} choose={(status) => set({ status })} />
      <Panel title="List" aside={busy ? <small>looking...</small> : <small>page {pages.length + 1}</small>}>
        <Filters filter={filter} set={set} />
        {problem !== undefined && <Trouble problem={problem} again={again} />}
        {filter.status === 'stuck' && <Bulk filter={filter} after={again} />}
        {data !== undefined && <List sagas={data.sagas} />}
        <div class="pager">
          <Button disabled={pages.length === 0} onClick={() => setPages(pages.slice(0, -1))}>
            Previous
          </Button>
          <Button disabled={data?.next == null} onClick={() => data?.next != null && setPages([...pages, data.next])}>
            Next
          </Button>
        </div>
      </Panel>
    </>
  )
}

function Counts({ chosen, choose }: { chosen: string; choose: (status: string) => void }) {
  const { data } = useLive().snapshot.sagas ?? {}
  const counts: Readonly<Record<string, number | undefined>> = { ...data }
  return (
    <div class="chips" role="group" aria-label="Status">
      {STATUSES.map((status) => (
        <button type="button" class="chip" aria-pressed={chosen === status} onClick={() => choose(status)} key={status}>
          {status === '' ? 'all' : status}
          {counts[status] !== undefined && <b>{count(counts[status])}</b>}
        </button>
      ))}
    </div>
  )
}

function Filters({ filter, set }: { filter: Filter; set: (change: Partial<Filter>) => void }) {
  const text = (name: 'saga' | 'idPrefix' | 'code', label: string) => (
    <Field label={label}>
      <input value={filter[name]} onChange={(e) => set({ [name]: e.currentTarget.value.trim() })} autoComplete="off" />
    </Field>
  )
  return (
    <form class="filters" onSubmit={(e) => e.preventDefault()}>
      {text('saga', 'Saga')}
      {text('idPrefix', 'Id begins with')}
      {text('code', 'Error code')}
      <Field label="Order">
        <select
          value={filter.order}
          onChange={(e) => set({ order: e.currentTarget.value === 'oldest' ? 'oldest' : 'newest' })}
        >
          <option value="newest">newest first</option>
          <option value="oldest">oldest first</option>
        </select>
      </Field>
    </form>
  )
}

export function sagaLink(saga: string, id: string): string {
  return `#/sagas/${encodeURIComponent(saga)}/${encodeURIComponent(id)}`
}

function List({ sagas }: { sagas: readonly SagaLine[] }) {
  return (
    <Table
      label="Sagas"
      rows={sagas}
      keyOf={({ saga, id }) => `${saga}/${id}`}
      empty="No saga fits."
      columns={[
        {
          head: 'Saga',
          cell: ({ saga, id, version }) => (
            <a href={sagaLink(saga, id)}>
              <code>
                {saga}/{id}
              </code>{' '}
              <small class="quiet">v{version}</small>
            </a>
          ),
        },
        { head: 'Status', cell: ({ status }) => <Badge is={status} /> },
        {
          head: 'Waits on',
          cell: ({ waitingOn, pendingActions }) =>
            pendingActions > 0 ? `${waitingOn.join(', ')} (an action is on its way)` : waitingOn.join(', ') || '-',
        },
        {
          head: 'Failure',
          cell: ({ failure }) =>
            failure === null ? (
              '-'
            ) : (
              <span>
                <code>{failureName(failure)}</code> <small>at {failure.step}</small>
              </span>
            ),
        },
        { head: 'Started', number: true, cell: ({ startedAt }) => <Ago at={startedAt} /> },
        { head: 'Changed', number: true, cell: ({ changedAt }) => <Ago at={changedAt} /> },
      ]}
    />
  )
}

/** Makes a dry run first and shows the number: each saga is checked again when the action is done. */
function Bulk({ filter, after }: { filter: Filter; after: () => void }) {
  const may = useMay('saga.retry')
  const ask = useContext(AskContext)
  const [problem, setProblem] = useState<Refused>()
  if (!may) return null
  const { saga, idPrefix, code } = filter
  const body = { do: 'retry', filter: { saga, idPrefix, code }, limit: 1_000 }
  const look = async (): Promise<void> => {
    setProblem(undefined)
    try {
      const { results, chosen, more, notAllowed } = await post<AllowedBulkReport>('sagas', {
        ...body,
        reason: 'a look before',
      })
      ask({
        title: `Retry ${counted(results.length, 'saga')}`,
        about: (
          <p>
            Calls the step again on which each is stuck, of the {results.length} that fit
            {more ? ', and more fit than one order takes' : ''}.
            {notAllowed > 0 ? ` ${counted(notAllowed, 'saga')} left out: you may not retry them.` : ''}
          </p>
        ),
        route: 'sagas',
        // Only the sagas shown, in the state shown.
        body: { ...body, among: chosen, dryRun: false },
        typed: results.length > 10 ? String(results.length) : undefined,
        told: (result) => {
          const { results: done } = result as AllowedBulkReport
          const applied = done.filter(({ outcome }) => outcome !== 'refused').length
          const gone = results.length - done.length
          const left = gone === 0 ? '' : `, ${gone} no longer fitted`
          return `${applied} of ${results.length} taken, ${done.length - applied} refused${left}`
        },
        after,
      })
    } catch (error) {
      if (error instanceof Refused) setProblem(error)
    }
  }
  return (
    <div class="bulk">
      <Button onClick={() => void look()}>Retry all that fit...</Button>
      {problem !== undefined && <Trouble problem={problem} />}
    </div>
  )
}
