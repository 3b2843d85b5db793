/**
 * The order-payment example. `npm start -- --help` lists its flags; README.md in this folder explains how it works.
 *
 * Exit codes: 0 every order reached a final state and both balances hold; 1 any other result; 2 an error in the command
 * line or an unreachable server, nothing was started; 130 and 143 ended by SIGINT and SIGTERM.
 */
import { dieWithNpm } from './run/orphan.ts'

// Runs before the imports below, because npm may be killed while they load.
dieWithNpm()
const { runProgram } = await import('./program.ts')
await runProgram()
