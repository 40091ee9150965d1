// A case prints one line; the driver counts them.

export const base = process.env.BASE;
export const secure = process.env.SECURE;
export const token = process.env.TOKEN;

let failed = false;

export async function test(name, body) {
  try {
    await body();
    console.log(`ok ${name}`);
  } catch (error) {
    failed = true;
    console.log(`FAILED ${name}: ${error.message} ${error.cause ?? ""}`.replaceAll("\n", " "));
  }
}

export function finish() {
  process.exit(failed ? 1 : 0);
}
