// Text of WebAssembly to its binary: for the sample policies, and the hostile modules of the tests.
import wabtModule from 'wabt'

const wabt = await wabtModule()

export type Features = NonNullable<Parameters<typeof wabt.parseWat>[2]>

/** Throws what is wrong with the text. */
export async function assemble(name: string, text: string, features: Features = {}): Promise<Buffer> {
  const parsed = wabt.parseWat(name, text, { bulk_memory: true, ...features })
  try {
    // The types leave out that it takes the features too.
    const checked: { validate(given: Features): void } = parsed
    checked.validate(features)
    return Buffer.from(parsed.toBinary({ write_debug_names: false }).buffer)
  } finally {
    parsed.destroy()
  }
}
