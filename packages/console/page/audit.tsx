/** Actions of operators, with person and reason. */

import type { AuditLine } from '@concordat/cli'
import { useState } from 'preact/hooks'
import { get } from './api.ts'
import { Button, Panel, Table, Trouble } from './ui-components.tsx'
import { useLoaded } from './use-loaded.ts'

const PAGE = 100

export function Audit() {
  const [pages, setPages] = useState<readonly number[]>([])
  const query = { before: pages.at(-1), limit: PAGE }
  const { data, problem, again } = useLoaded(JSON.stringify(query), () => get<readonly AuditLine[]>('audit', query))
  const last = data?.at(-1)
  return (
    <Panel
      title="Actions"
      aside={
        <Button class="small" onClick={again}>
          Look again
        </Button>
      }
    >
      {problem !== undefined && <Trouble problem={problem} again={again} />}
      {data !== undefined && (
        <Table
          label="Audit"
          rows={data.map((line, n) => ({ ...line, n }))}
          keyOf={({ n }) => String(n)}
          empty="No actions yet."
          columns={[
            {
              head: 'When',
              cell: ({ at }) => (
                <time dateTime={new Date(at).toISOString()}>
                  {new Date(at).toISOString().slice(0, 19).replace('T', ' ')}
                </time>
              ),
            },
            { head: 'Who', cell: ({ by }) => <b>{by}</b> },
            { head: 'What', cell: ({ part, action }) => `${part}: ${action}` },
            { head: 'On', cell: ({ target }) => <code>{target}</code> },
            { head: 'Why', cell: ({ reason }) => reason },
            { head: 'Outcome', cell: ({ outcome }) => outcome ?? '-' },
          ]}
        />
      )}
      <div class="pager">
        <Button disabled={pages.length === 0} onClick={() => setPages(pages.slice(0, -1))}>
          Newer
        </Button>
        <Button
          disabled={data === undefined || data.length < PAGE}
          onClick={() => last !== undefined && setPages([...pages, last.at])}
        >
          Older
        </Button>
      </div>
    </Panel>
  )
}
