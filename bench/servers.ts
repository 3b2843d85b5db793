import { addressInEnvironment, type ServerKind, ServerUnavailable } from '../test/support/servers/kinds.ts'
import { startServer } from '../test/support/servers/start.ts'

/**
 * Provides a server: the address in the environment, otherwise a private one that ends with `stack`; or the reason why neither
 * exists.
 */
export async function provideServer(
  kind: ServerKind,
  stack: AsyncDisposableStack,
): Promise<{ readonly address: string } | { readonly missing: string }> {
  const given = addressInEnvironment(kind)
  if (given !== undefined) return { address: given }
  try {
    return { address: stack.use(await startServer(kind)).url }
  } catch (error) {
    if (error instanceof ServerUnavailable) return { missing: error.message }
    throw error
  }
}
