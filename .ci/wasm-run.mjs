// Runs a test program that was compiled for wasm32-unknown-unknown. Such a program has no output: it returns 0 when every test
// passed, and traps in the first one that does not, whose name is then in the stack.
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import process from "node:process";

const file = process.argv[2];
const { instance } = await WebAssembly.instantiate(await readFile(file), {});
const code = instance.exports.main(0, 0);
console.log(`${basename(file)}: ${code === 0 ? "all tests passed" : `failed with ${code}`}`);
process.exit(code);
