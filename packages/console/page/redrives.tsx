/** Redrives started here, and their progress. */
import { useLive } from './live.ts'
import { Ago, count, Panel, Table } from './ui-components.tsx'

export function Redrives() {
  const lines = useLive().snapshot.underWay?.data ?? []
  if (lines.length === 0) return null
  return (
    <Panel title="Under way">
      <Table
        label="Under way"
        rows={lines}
        keyOf={({ channel, group, startedAt }) => `${channel}.${group} ${startedAt}`}
        empty=""
        columns={[
          {
            head: 'What',
            cell: ({ action, channel, group, by }) => (
              <>
                {action} of <code>{channel}</code> <span class="group">{group}</span> by {by}
              </>
            ),
          },
          {
            head: 'Done',
            number: true,
            cell: ({ done, of, channel, group }) => (
              <>
                <progress max={Math.max(1, of ?? 1)} value={done} aria-label={`redrive of ${group} on ${channel}`} />{' '}
                {count(done)} of {count(of)}
              </>
            ),
          },
          { head: 'Kept', number: true, cell: ({ kept }) => count(kept) },
          { head: 'Since', number: true, cell: ({ startedAt }) => <Ago at={startedAt} /> },
        ]}
      />
    </Panel>
  )
}
