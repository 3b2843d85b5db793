/** Permissions. Without `authorize`, reading is open and all actions are refused. */
import { type Clock, SECOND } from 'concordat/core'
import { within } from 'concordat/extension'
import { Problem } from './problem.ts'

/** All actions passed to `authorize`. `view` covers everything that is shown without payloads. */
export const CONSOLE_ACTIONS = Object.freeze([
  'view',
  'payloads',
  'saga.retry',
  'saga.skip',
  'saga.compensate',
  'saga.resolve',
  'saga.cancel',
  'letters.look',
  'letters.redrive',
  'letters.drop',
  'outbox.retry',
  'outbox.drop',
  'lock.release',
  'leader.step-down',
  'undo.settle',
  'binding.pause',
  'binding.resume',
] as const)

/** An action of the console. */
export type ConsoleAction = (typeof CONSOLE_ACTIONS)[number]

/** Argument of `authorize`. */
export interface ConsoleQuestion {
  /** Its body must not be read. */
  readonly request: Request
  readonly action: ConsoleAction
  /** Same as `AuditLine.target`; `undefined` if the page asks which buttons to show, or before a bulk action. */
  readonly target?: string | undefined
}

/** The user, and the decision. */
export interface ConsoleAnswer {
  /** Recorded in the audit. */
  readonly user: string
  readonly allow: boolean
}

/** `undefined`: an unknown user. An exception, or no result within 5 seconds, means no. */
export type ConsoleAuthorize = (
  question: ConsoleQuestion,
) => ConsoleAnswer | undefined | Promise<ConsoleAnswer | undefined>

const ANSWER_MS = 5 * SECOND
const MAX_NAME = 200

export class Access {
  readonly #authorize: ConsoleAuthorize | undefined
  readonly #clock: Clock

  constructor(authorize: ConsoleAuthorize | undefined, clock: Clock) {
    this.#authorize = authorize
    this.#clock = clock
  }

  get isReadOnly(): boolean {
    return this.#authorize === undefined
  }

  /** @returns the user. @throws Problem 401, 403 */
  async require(request: Request, action: ConsoleAction, target?: string): Promise<string> {
    const answer = await this.#ask({ request, action, target })
    if (answer === undefined) throw new Problem(401, 'console.unauthenticated', 'sign in where this console is mounted')
    if (!answer.allow) throw new Problem(403, 'console.not_allowed', `${answer.user} may not: ${action}`)
    return answer.user
  }

  async may(request: Request, action: ConsoleAction, target?: string): Promise<boolean> {
    return (await this.#ask({ request, action, target }))?.allow === true
  }

  /** Actions for which the page shows buttons; each is authorized again when performed. */
  async allowed(request: Request): Promise<readonly ConsoleAction[]> {
    const answers = await Promise.all(CONSOLE_ACTIONS.map((action) => this.may(request, action)))
    return CONSOLE_ACTIONS.filter((_, n) => answers[n])
  }

  async #ask(question: ConsoleQuestion): Promise<ConsoleAnswer | undefined> {
    if (this.#authorize === undefined) return { user: 'anonymous', allow: question.action === 'view' }
    const asked = Promise.resolve(question)
      .then(this.#authorize)
      .catch(() => undefined)
    const answer = await within(this.#clock, ANSWER_MS, asked, undefined)
    if (typeof answer !== 'object' || answer === null) return undefined
    const { user, allow } = answer
    if (typeof user !== 'string' || user === '' || user.length > MAX_NAME) return undefined
    return { user, allow: allow === true }
  }
}
