/** The dialog of an action: asks for a reason, describes the effect, and shows the outcome. */
import type { ComponentChildren } from 'preact'
import { createContext } from 'preact'
import { useContext, useEffect, useRef, useState } from 'preact/hooks'
import type { ConsoleAction } from '../access.ts'
import type { Me } from '../read-routes.ts'
import { ofAction, post, Refused } from './api.ts'
import { Button, Field, Trouble } from './ui-components.tsx'

export const MeContext = createContext<Me | undefined>(undefined)

export function useMay(action: ConsoleAction): boolean {
  return useContext(MeContext)?.allow.includes(action) === true
}

export interface Order {
  readonly title: string
  readonly about: ComponentChildren
  readonly route: string
  readonly body: Readonly<Record<string, unknown>>
  /** Text that must be typed before something is deleted permanently. */
  readonly typed?: string | undefined
  readonly danger?: boolean | undefined
  readonly told?: ((result: unknown) => string) | undefined
  readonly after?: (() => void) | undefined
}

type Ask = (order: Order) => void

export const AskContext = createContext<Ask>(() => {})

/** A button, or a note instead of it for users without the permission. */
export function Act(props: {
  action: ConsoleAction
  order: () => Order
  children: ComponentChildren
  small?: boolean
}) {
  const may = useMay(props.action)
  const ask = useContext(AskContext)
  const { danger } = may ? props.order() : { danger: false }
  if (!may) return null
  return (
    <Button
      look={danger === true ? 'danger' : 'plain'}
      class={props.small ? 'small' : ''}
      onClick={() => ask(props.order())}
    >
      {props.children}
    </Button>
  )
}

interface DialogProps {
  readonly order: Order
  readonly close: () => void
  readonly tell: (text: string) => void
}

/** The browser's own dialog: it keeps the focus, and Escape closes it. */
export function ActionDialog({ order, close, tell }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null)
  const [reason, setReason] = useState('')
  const [typed, setTyped] = useState('')
  const [busy, setBusy] = useState(false)
  const [problem, setProblem] = useState<Refused>()
  useEffect(() => dialog.current?.showModal(), [])
  const ready = reason.trim() !== '' && (order.typed === undefined || typed === order.typed) && !busy
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault()
    if (!ready) return
    setBusy(true)
    setProblem(undefined)
    try {
      const result = await post(order.route, { ...order.body, reason: reason.trim() })
      tell(order.told?.(result) ?? `${order.title}: done`)
      order.after?.()
      close()
    } catch (error) {
      setProblem(ofAction(error instanceof Refused ? error : new Refused(0, 'console.failed', String(error))))
      setBusy(false)
    }
  }
  return (
    <dialog ref={dialog} onClose={close} aria-labelledby="act-title">
      <form onSubmit={(event) => void submit(event)}>
        <h2 id="act-title">{order.title}</h2>
        <div class="about">{order.about}</div>
        <Field label="Reason" hint="It is kept with your name in the audit.">
          <input
            name="reason"
            value={reason}
            onInput={(e) => setReason(e.currentTarget.value)}
            required
            autoFocus
            maxLength={1000}
          />
        </Field>
        {order.typed !== undefined && (
          <Field label={`Type "${order.typed}" to go on`}>
            <input name="typed" value={typed} onInput={(e) => setTyped(e.currentTarget.value)} autoComplete="off" />
          </Field>
        )}
        {problem !== undefined && <Trouble problem={problem} />}
        <div class="buttons">
          <Button onClick={() => dialog.current?.close()}>Not now</Button>
          <Button type="submit" look={order.danger === true ? 'danger' : 'strong'} disabled={!ready}>
            {busy ? 'Working...' : order.title}
          </Button>
        </div>
      </form>
    </dialog>
  )
}
