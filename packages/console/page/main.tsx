/** The frame of the page: navigation, user and connection. */
import { render } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import type { Me } from '../read-routes.ts'
import { ActionDialog, AskContext, MeContext, type Order } from './action-dialog.tsx'
import { get, keepToken, Refused, signIn } from './api.ts'
import { Audit } from './audit.tsx'
import { Cluster } from './cluster.tsx'
import { UndoBranches } from './undo-branches.tsx'
import './console.css'
import { Doctor } from './doctor.tsx'
import { Instance, Instances } from './instances.tsx'
import { Letters } from './letters.tsx'
import { lettersIn, live, useLive } from './live.ts'
import { Locks } from './locks.tsx'
import { Outbox } from './outbox.tsx'
import { Overview } from './overview.tsx'
import { Saga } from './saga.tsx'
import { Sagas } from './sagas.tsx'
import { Topology } from './topology.tsx'
import { Badge, Button, Trouble } from './ui-components.tsx'

const VIEWS = {
  overview: ['Overview', Overview],
  instances: ['Instances', Instances],
  sagas: ['Sagas', Sagas],
  letters: ['Dead letters', Letters],
  outbox: ['Outbox', Outbox],
  locks: ['Locks', Locks],
  cluster: ['Leaders & members', Cluster],
  branches: ['Branches', UndoBranches],
  topology: ['Topology', Topology],
  audit: ['Audit', Audit],
  doctor: ['Doctor', Doctor],
} as const

type View = keyof typeof VIEWS

function route(): { readonly view: View; readonly rest: readonly string[] } {
  const [name = '', ...rest] =
    location.hash.replace(/^#\/?/, '').split('?')[0]?.split('/').map(decodeURIComponent) ?? []
  return { view: Object.hasOwn(VIEWS, name) ? (name as View) : 'overview', rest }
}

function useRoute() {
  const [at, setAt] = useState(route)
  useEffect(() => {
    const changed = (): void => {
      setAt(route())
      document.querySelector<HTMLElement>('main')?.focus({ preventScroll: true })
      window.scrollTo(0, 0)
    }
    window.addEventListener('hashchange', changed)
    return () => window.removeEventListener('hashchange', changed)
  }, [])
  return at
}

const THEMES = ['auto', 'light', 'dark'] as const
type Theme = (typeof THEMES)[number]

function useTheme(): [Theme, () => void] {
  const kept = (): Theme => THEMES.find((each) => each === localStorage.getItem('concordat-theme')) ?? 'auto'
  const [theme, setTheme] = useState(kept)
  useEffect(() => {
    document.documentElement.dataset['theme'] = theme
    localStorage.setItem('concordat-theme', theme)
  }, [theme])
  return [theme, () => setTheme(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? 'auto')]
}

function Nav({ view }: { view: View }) {
  const { snapshot } = useLive()
  const waiting: Partial<Record<View, number | undefined>> = {
    sagas: snapshot.sagas?.data?.stuck,
    letters: lettersIn(snapshot).count ?? 0,
    outbox: snapshot.outbox?.data?.parked,
  }
  return (
    <nav aria-label="Views">
      <ul>
        {Object.entries(VIEWS).map(([name, [label]]) => (
          <li key={name}>
            <a href={`#/${name}`} aria-current={name === view ? 'page' : undefined}>
              {label}
              {(waiting[name as View] ?? 0) > 0 && (
                <span class="waiting">
                  {waiting[name as View]}
                  <span class="hidden"> waiting</span>
                </span>
              )}
            </a>
          </li>
        ))}
      </ul>
    </nav>
  )
}

function LiveState() {
  const { state } = useLive()
  const said = { live: 'live', connecting: 'connecting', away: 'no answer' }[state]
  return (
    <span role="status">
      <Badge is={state} tone={state === 'live' ? 'good' : state === 'away' ? 'bad' : 'warn'}>
        {said}
      </Badge>
    </span>
  )
}

function App({ me }: { me: Me }) {
  const { view, rest } = useRoute()
  const [theme, nextTheme] = useTheme()
  const [order, setOrder] = useState<Order>()
  const [told, setTold] = useState('')
  const [label, Content] = VIEWS[view]
  useEffect(() => {
    document.title = `${label} - ${me.title}`
  }, [label])
  return (
    <MeContext.Provider value={me}>
      <AskContext.Provider value={setOrder}>
        <a
          class="skip"
          href="#content"
          onClick={(e) => (e.preventDefault(), document.querySelector<HTMLElement>('main')?.focus())}
        >
          Skip to the content
        </a>
        <header class="top">
          <a class="name" href="#/overview">
            <span class="mark" aria-hidden="true" />
            {me.title}
          </a>
          <div class="state">
            <LiveState />
            {me.allow.length <= 1 ? <Badge is="read-only" tone="quiet" /> : <span class="user">{me.user}</span>}
            <Button class="small" onClick={nextTheme} aria-label={`Colours: ${theme}. Change`}>
              {theme === 'auto' ? '◐' : theme === 'light' ? '○' : '●'} {theme}
            </Button>
          </div>
        </header>
        <Nav view={view} />
        <main id="content" tabIndex={-1}>
          <h1>{label}</h1>
          {view === 'sagas' && rest.length === 2 ? (
            <Saga saga={rest[0] ?? ''} id={rest[1] ?? ''} key={rest.join('/')} />
          ) : view === 'instances' && rest.length === 1 ? (
            <Instance address={rest[0] ?? ''} key={rest[0]} />
          ) : (
            <Content />
          )}
        </main>
        {order !== undefined && <ActionDialog order={order} close={() => setOrder(undefined)} tell={setTold} />}
        <div class="told" role="status" aria-live="polite">
          {told !== '' && (
            <p>
              {told}{' '}
              <Button class="small" onClick={() => setTold('')}>
                Close
              </Button>
            </p>
          )}
        </div>
      </AskContext.Provider>
    </MeContext.Provider>
  )
}

function Closed({ problem }: { problem: Refused }) {
  return (
    <main class="closed">
      <h1>concordat</h1>
      <Trouble problem={problem} again={() => location.reload()} />
    </main>
  )
}

async function start(): Promise<void> {
  const root = document.getElementById('app') as HTMLElement
  await signIn()
  try {
    const me = await get<Me>('me')
    keepToken(me)
    live.start()
    render(<App me={me} />, root)
  } catch (error) {
    const problem = error instanceof Refused ? error : new Refused(0, 'console.failed', String(error))
    render(<Closed problem={problem} />, root)
  }
}

void start()
