/** Branches of transactions in this database, and the decision about a branch that cannot be undone. */

import { useEffect, useState } from 'preact/hooks'
import type { OpenUndo, PreparedTransaction, UndoChoice, UndoDifference } from '../engine-types.ts'
import type { PayloadView, RowView } from '../redacted-views.ts'
import { Act, type Order, useMay } from './action-dialog.tsx'
import { get, post, Refused } from './api.ts'
import { sagaLink } from './sagas.tsx'
import { Ago, Button, Cut, lasting, Panel, Table, Trouble } from './ui-components.tsx'
import { useLoaded } from './use-loaded.ts'

/** Limit of `Operator.undo.open`. */
const MOST = 1_000
const keyOf = ({ saga, id, step, birth }: OpenUndo): string => `${birth} ${saga}/${id}/${step}`

export function UndoBranches() {
  const undo = useLoaded('undo', () => get<readonly OpenUndo[]>('undo'), 5_000)
  const [chosen, setChosen] = useState<OpenUndo>()
  return (
    <>
      <Panel title="Held by undo" aside={<small>their rows are locked for other writers</small>}>
        {undo.problem?.status === 409 && <p class="empty">Not set up in this database.</p>}
        {undo.problem !== undefined && undo.problem.status !== 409 && (
          <Trouble problem={undo.problem} again={undo.again} />
        )}
        {undo.data !== undefined && (
          <Table
            label="Held by undo"
            rows={undo.data}
            keyOf={keyOf}
            empty="No branch holds rows."
            columns={[
              { head: 'Saga', cell: ({ saga, id }) => <a href={sagaLink(saga, id)}>{`${saga}/${id}`}</a> },
              { head: 'Step', cell: ({ step }) => <code>{step}</code> },
              { head: 'Service', cell: ({ service }) => service },
              { head: 'Tables', cell: ({ tables }) => tables.join(', ') },
              { head: 'Changes', number: true, cell: ({ changes }) => changes },
              { head: 'Since', number: true, cell: ({ since }) => <Ago at={since} /> },
              {
                head: 'Look',
                cell: (branch) => (
                  <Button class="small" onClick={() => setChosen(branch)} aria-label={`Look at ${keyOf(branch)}`}>
                    Look
                  </Button>
                ),
              },
            ]}
          />
        )}
        <Cut rows={undo.data} most={MOST} how=", the oldest: settle some first" />
      </Panel>
      {chosen !== undefined && <Branch branch={chosen} after={undo.again} key={keyOf(chosen)} />}
      <Prepared />
    </>
  )
}

function Prepared() {
  const prepared = useLoaded('prepared', () => get<readonly PreparedTransaction[]>('prepared'), 5_000)
  return (
    <Panel
      title="Prepared transactions"
      aside={<small>the oldest twenty; on MariaDB those of sagas, on PostgreSQL all</small>}
    >
      {prepared.problem !== undefined && <Trouble problem={prepared.problem} again={prepared.again} />}
      {prepared.data !== undefined && (
        <Table
          label="Prepared transactions"
          rows={prepared.data}
          keyOf={({ gid }) => gid}
          empty="No transaction is prepared."
          columns={[
            {
              head: 'Saga, id, step',
              cell: ({ key }) => (key === undefined ? 'foreign' : <code>{key}</code>),
            },
            { head: 'On', cell: ({ on }) => on ?? 'PostgreSQL' },
            { head: 'Name', cell: ({ gid }) => <code>{gid}</code> },
            { head: 'For', number: true, cell: ({ ageMs }) => lasting(ageMs) },
          ]}
        />
      )}
    </Panel>
  )
}

const CHOICES: Readonly<Record<UndoChoice, string>> = {
  keep: 'Rows that others changed stay as they are; all others are restored.',
  restore: 'All rows are restored, also those that others changed since.',
  accept: 'Nothing is put back: what the branch did stays, as if it had been confirmed.',
}

function Branch({ branch, after }: { branch: OpenUndo; after: () => void }) {
  const { saga, id, step, birth } = branch
  const target = { saga, id, step, birth }
  const { data, problem, again } = useLoaded(keyOf(branch), () => get<readonly UndoDifference[]>('differences', target))
  const order = (choice: UndoChoice): Order => ({
    title: `Settle: ${choice}`,
    about: <p>{CHOICES[choice]}</p>,
    route: 'undo',
    body: { ...target, choice },
    danger: true,
    typed: id,
    after: () => {
      again()
      after()
    },
  })
  return (
    <Panel title={`${saga}/${id} ${step}`} id="branch">
      {problem !== undefined && <Trouble problem={problem} again={again} />}
      {data !== undefined && <Differences rows={data} target={target} />}
      <div class="buttons left">
        {(Object.keys(CHOICES) as UndoChoice[]).map((choice) => (
          <Act action="undo.settle" order={() => order(choice)} key={choice}>
            {choice}
          </Act>
        ))}
      </div>
    </Panel>
  )
}

/** Differing columns; their values on request, which the audit records. */
function Differences({ rows, target }: { rows: readonly UndoDifference[]; target: object }) {
  const may = useMay('payloads')
  const [shown, setShown] = useState<readonly RowView[]>()
  const [problem, setProblem] = useState<Refused>()
  useEffect(() => setShown(undefined), [rows])
  const look = (): void => {
    setProblem(undefined)
    post<PayloadView>('payload', { of: 'branch', ...target }).then(
      ({ rows: values = [] }) => setShown(values),
      (error: unknown) => error instanceof Refused && setProblem(error),
    )
  }
  const all: readonly RowView[] = shown ?? rows
  return (
    <>
      <Table
        label="Differences"
        rows={all.map((each, n) => ({ ...each, n }))}
        keyOf={({ n }) => String(n)}
        empty="Its rows are as it left them: nothing keeps it from being undone."
        columns={[
          { head: 'Table', cell: ({ table }) => <code>{table}</code> },
          {
            head: 'Row',
            cell: ({ key }) =>
              Object.entries(key)
                .map(([name, value]) => `${name}=${String(value)}`)
                .join(', ') || '-',
          },
          { head: 'Column', cell: ({ column }) => column ?? 'the row' },
          { head: 'It left', cell: ({ expected }) => String(expected) },
          { head: 'Now', cell: ({ found }) => String(found) },
        ]}
      />
      {problem !== undefined && <Trouble problem={problem} />}
      {may && rows.length > 0 && shown === undefined && (
        <Button onClick={look}>Show the values, and keep in the audit that I looked</Button>
      )}
      {!may && rows.length > 0 && <p class="empty">The values are hidden: you may not see payloads here.</p>}
    </>
  )
}
