"""The `cuebank` command: a thin shell over the library.

Each command parses its options, calls one library function of the same verb and prints the result.
Everything heavy is imported inside the commands, so that `cuebank --help` answers at once.
"""

from __future__ import annotations

import atexit
import gc
from typing import Any

import click

from cuebank.commands import benchmark, demo, evaluate, extract, import_labels, import_weights, listings, store, train
from cuebank.commands.terminal import FAILED, INTERRUPTED, fail


class Shell(click.Group):
    """A group whose commands turn cuebank's errors into one message and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the chosen command; print a `CuebankError` without a traceback and exit with 1."""
        from cuebank.store.errors import CuebankError

        try:
            return super().invoke(ctx)
        except CuebankError as error:
            fail(str(error), FAILED)
        except BrokenPipeError:
            raise  # somebody's `| head` has seen enough; click ends quietly
        except OSError as error:  # a full disk, no permission: nothing that a traceback would explain
            where = f" ({error.filename})" if error.filename else ""
            fail(f"The system refused: {error.strerror or error}{where}. What was committed is safe.", FAILED)
        except KeyboardInterrupt:
            fail("Interrupted. What a store has committed is safe; run the same command again.", INTERRUPTED)


@click.group(cls=Shell, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="cuebank", prog_name="cuebank")
def main() -> None:
    """Run frozen backbones once over clips, keep the features in a store, train small heads from it in seconds."""
    # At exit Python would look for garbage among the many thousand objects of torch and transformers: 1 s for nothing.
    atexit.register(gc.freeze)


for _command in (
    extract.extract,
    train.train_head,
    train.predict,
    evaluate.evaluate,
    benchmark.benchmark,
    import_labels.import_labels,
    import_weights.import_weights,
    store.store,
    listings.backbones,
    listings.tasks,
    listings.heads,
    demo.demo,
):
    main.add_command(_command)


if __name__ == "__main__":
    main()
