"""The outer border: whatever happens inside becomes one message and one exit code."""

import io

import click

from reconciler.cli import streams
from reconciler.cli.common import Settings, notice
from reconciler.cli.root import root
from reconciler.errors import ExitCode, GatewaysError, InvalidInput
from reconciler.report.safe import line, log_lines


def run(arguments: list[str] | None = None) -> int:
    """Run a command line; never raises, but for what Python itself ends with."""
    settings = Settings()
    streams.prepare()
    try:
        code = root.main(args=arguments, prog_name="gateways", standalone_mode=False, obj=settings)
    except click.ClickException as error:
        return _usage(error, settings)
    except GatewaysError as error:
        _explain(error, settings)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort) as stop:
        if isinstance(stop.__cause__, EOFError):
            return _bug(stop.__cause__, settings)  # click takes every end of a file for Ctrl-D
        notice(settings, "interrupted", "error")
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the one border at which a bug is caught
        return _bug(error, settings)
    return code if isinstance(code, int) else ExitCode.DONE


def _usage(error: click.ClickException, settings: Settings) -> int:
    if settings.log_format == "json":
        notice(settings, error.format_message(), "error")
    else:
        shown = io.StringIO()
        error.show(shown)
        streams.note(log_lines(shown.getvalue().rstrip("\n")))
    return ExitCode.USAGE


def _explain(error: GatewaysError, settings: Settings) -> None:
    from reconciler.report.problems import problem_text

    if isinstance(error, InvalidInput):
        for problem in error.problems:
            notice(settings, problem_text(problem), problem.severity.value)
    notice(settings, f"error: {line(error.message)}", "error")
    if error.hint:
        notice(settings, f"  hint: {line(error.hint)}", "error")


def _bug(error: Exception, settings: Settings) -> int:
    """A traceback belongs in a file: it is long, and nobody asked for it."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile(
        "w", prefix="gateways-crash-", suffix=".log", delete=False, encoding="utf-8"
    ) as file:
        # without the values of local variables, and without messages: either may hold a secret
        file.writelines(traceback.format_tb(error.__traceback__))
        file.write(type(error).__name__ + "\n")
    notice(
        settings,
        f"error: this is a bug ({type(error).__name__}); please report it with {file.name}",
        "error",
    )
    return ExitCode.BUG
