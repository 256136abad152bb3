# Completion scripts for shells, printed from the parser: there is no second list of options.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Completion scripts for bash, zsh and fish, printed from the command line's own parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """One option, or one argument without a name."""

    names: tuple[str, ...]
    choices: tuple[str, ...]
    takes: bool
    files: bool
    text: str


def options(parser: argparse.ArgumentParser) -> Iterator[Option]:
    """Yield the options of a parser."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            continue
        files = (action.metavar or "") in ("MODEL", "FILE")
        suggested = getattr(action, "suggestions", None)  # what may be given, among other things
        choices = tuple(str(choice) for choice in action.choices or (suggested() if suggested else ()))
        yield Option(tuple(action.option_strings), choices, action.nargs != 0, files, action.help or "")


def commands(parser: argparse.ArgumentParser) -> dict[str, tuple[str, argparse.ArgumentParser]]:
    """Return the commands of a parser: what each does, and its own parser."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            texts = {choice.dest: choice.help or "" for choice in action._choices_actions}
            return {name: (texts.get(name, ""), sub) for name, sub in action.choices.items()}
    return {}


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the script for a shell."""
    return {"bash": bash, "zsh": zsh, "fish": fish}[shell](parser)


def bash(parser: argparse.ArgumentParser) -> str:
    """Return a script for bash."""
    lines = ["# Completion of macsim for bash.", "_macsim() {"]
    lines += ['  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" words=""']
    lines += ["  COMPREPLY=()", '  case "${COMP_WORDS[1]}" in']
    for name, (_, sub) in commands(parser).items():
        flags = " ".join(flag for option in options(sub) for flag in option.names)
        lines += [f"    {name})", '      case "$before" in']
        for option in options(sub):
            if option.names and option.takes:
                pattern = "|".join(option.names)
                if option.files:
                    lines.append(f'        {pattern}) COMPREPLY=($(compgen -f -- "$word")); return ;;')
                else:
                    words = " ".join(option.choices)
                    lines.append(f'        {pattern}) COMPREPLY=($(compgen -W "{words}" -- "$word")); return ;;')
        lines += ["      esac", f'      words="{flags}"']
        for option in options(sub):
            if not option.names and option.choices:
                lines.append(f'      words="$words {" ".join(option.choices)}"')
            if not option.names and option.files:
                lines.append('      [[ $word != -* ]] && { COMPREPLY=($(compgen -f -- "$word")); return; }')
        lines.append("      ;;")
    top = " ".join([*commands(parser), *(flag for option in options(parser) for flag in option.names)])
    lines += ["    *)", f'      words="{top}"', "      ;;", "  esac"]
    lines += ['  COMPREPLY=($(compgen -W "$words" -- "$word"))', "}", "complete -o filenames -F _macsim macsim", ""]
    return "\n".join(lines)


def _zsh_text(text: str) -> str:
    return text.replace("'", "'\\''").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")


def zsh(parser: argparse.ArgumentParser) -> str:
    """Return a script for zsh."""
    lines = ["#compdef macsim", "# Completion of macsim for zsh.", "_macsim() {", "  local -a commands=("]
    lines += [f"    '{name}:{_zsh_text(text)}'" for name, (text, _) in commands(parser).items()]
    flags = " ".join(flag for option in options(parser) for flag in option.names)
    lines += [
        "  )",
        "  if (( CURRENT == 2 )); then",
        f"    _describe command commands; compadd -- {flags}; return",
        "  fi",
    ]
    lines += ['  case "${words[2]}" in']
    for name, (_, sub) in commands(parser).items():
        lines += [f"    {name})", "      shift words; (( CURRENT-- ))", "      _arguments \\"]
        for option in options(sub):
            values = f"({' '.join(option.choices)})" if option.choices else "_files" if option.files else " "
            for flag in option.names or ("",):
                if not flag:
                    lines.append(f"        '*: :{values}' \\")
                elif option.takes:
                    lines.append(f"        '*{flag}[{_zsh_text(option.text)}]:value:{values}' \\")
                else:
                    lines.append(f"        '{flag}[{_zsh_text(option.text)}]' \\")
        lines[-1] = lines[-1].removesuffix(" \\")
        lines.append("      ;;")
    lines += [
        "  esac",
        "}",
        'if [[ "$funcstack[1]" == _macsim ]]; then _macsim "$@"; else compdef _macsim macsim; fi',
        "",
    ]
    return "\n".join(lines)


def fish(parser: argparse.ArgumentParser) -> str:
    """Return a script for fish."""
    lines = ["# Completion of macsim for fish.", "complete -c macsim -f"]

    def quoted(text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    def line(condition: str, option: Option) -> str:
        parts = [f"complete -c macsim -n {quoted(condition)}"]
        parts += [f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.names]
        if option.takes and option.names:
            parts.append("-r")
        if option.choices:
            parts.append(f"-a {quoted(' '.join(option.choices))}")
        if option.files:
            parts.append("-F")
        if option.text:
            parts.append(f"-d {quoted(option.text)}")
        return " ".join(parts)

    lines += [line("__fish_use_subcommand", option) for option in options(parser)]
    for name, (text, sub) in commands(parser).items():
        lines.append(f"complete -c macsim -n __fish_use_subcommand -a {name} -d {quoted(text)}")
        seen = f"__fish_seen_subcommand_from {name}"
        lines += [line(seen, option) for option in options(sub) if option.names or option.choices or option.files]
    return "\n".join([*lines, ""])
