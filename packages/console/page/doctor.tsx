/** Problems and remedies. */
import type { DoctorReport } from '@concordat/cli'
import { get } from './api.ts'
import { Badge, Button, Copy, Panel, Trouble } from './ui-components.tsx'
import { useLoaded } from './use-loaded.ts'

const WORST = ['fail', 'warn', 'unknown', 'ok']

export function Doctor() {
  const { data, problem, busy, again } = useLoaded('doctor', () => get<DoctorReport>('doctor'))
  return (
    <Panel
      title="Findings"
      aside={
        <Button class="small" onClick={again} disabled={busy}>
          {busy ? 'Looking...' : 'Look again'}
        </Button>
      }
    >
      {problem !== undefined && <Trouble problem={problem} again={again} />}
      {data !== undefined && (
        <ul class="findings">
          {data.lines
            .toSorted((a, b) => WORST.indexOf(a.status) - WORST.indexOf(b.status))
            .map(({ check, status, text, remedy }, n) => (
              <li key={n}>
                <Badge is={status} />
                <b>{check}</b>
                <span>{text}</span>
                {remedy !== undefined && (
                  <p class="remedy">
                    <code>{remedy}</code> <Copy text={remedy} />
                  </p>
                )}
              </li>
            ))}
        </ul>
      )}
    </Panel>
  )
}
