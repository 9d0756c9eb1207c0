# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Completion for bash. Commands and flags are what the program itself lists with
# --help; only the values that flags take are written here.

# The names of commands, a line each: the words before the arguments.
_tidemark_commands()
{
	"$1" --help 2>/dev/null | sed -n 's/^  \([a-z]*\( [a-z]\{1,\}\)\{0,1\}\).*/\1/p'
}

# The flags of a command, a line each; " value" behind those that take one.
_tidemark_flags()
{
	"$@" --help 2>/dev/null | awk '
	function say(flag) {
		if (sub(/^--\[no-\]/, "--", flag))
			print "--no-" substr(flag, 3)
		print flag value
	}
	/^ +-/ {
		sub(/^ +/, "")
		sub(/  .*/, "")
		count = split($0, parts, /,? /)
		value = parts[count] ~ /^-/ ? "" : " value"
		for (i = 1; i <= count; i++)
			if (parts[i] ~ /^-/)
				say(parts[i])
	}'
}

# The values of a flag; fails where it has none to offer.
_tidemark_values()
{
	case $1 in
	--output | -o) echo auto table spark json csv none ;;
	--log-format) echo auto text json ;;
	--color) echo auto always never ;;
	--from) echo earliest latest ;;
	--to) echo earliest latest ;;
	--state) echo clear keep ;;
	--format) echo text json ;;
	--generator) echo words text ;;
	--template) echo wordcount window dedup session ;;
	--profile | -p) echo default cluster local-lb ;;
	*) return 1 ;;
	esac
}

_tidemark()
{
	local program=$1 current=$2 previous=$3 command='' word values flags commands i
	COMPREPLY=()
	# --flag=value comes as three words.
	if [ "$current" = "=" ]; then
		current=
	elif [ "$previous" = "=" ]; then
		previous=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	commands=$(_tidemark_commands "$program")
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if grep -qE "^$command${command:+ }$word( |\$)" <<<"$commands" 2>/dev/null; then
			command+=${command:+ }$word
		else
			break
		fi
	done
	if ! grep -qxF -e "${command:-?}" <<<"$commands"; then
		# The first word of a command, or its second.
		mapfile -t COMPREPLY < <(compgen -W "$(sed -n "s/^${command:+$command }\([a-z]*\).*/\1/p" \
			<<<"$commands" | sort -u)" -- "$current")
		return
	fi
	# shellcheck disable=SC2086 # a command may be two words
	flags=$(_tidemark_flags "$program" $command)
	if values=$(_tidemark_values "$previous"); then
		mapfile -t COMPREPLY < <(compgen -W "$values" -- "$current")
	elif [ "$previous" = --checkpoint-dir ] || [ "$previous" = -c ]; then
		mapfile -t COMPREPLY < <(compgen -d -- "$current")
	elif [ "$previous" = --progress ] || [ "$previous" = --input ] ||
		[ "$previous" = --job ] || [ "$previous" = --out ] || [ "$previous" = --emit-spec ]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
	elif grep -qxF -e "$previous value" <<<"$flags"; then
		return # a value that only the user knows
	elif [[ $current == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "${flags// value/} --help" -- "$current")
	elif [ "$command" = test ]; then
		mapfile -t COMPREPLY < <(compgen -f -X '!*_spec.lua' -- "$current"
			compgen -d -S / -- "$current")
	elif [ "$command" = replay ]; then
		mapfile -t COMPREPLY < <(compgen -f -X '!*.tide' -- "$current"
			compgen -d -S / -- "$current")
	elif "$program" --help 2>/dev/null | grep -q "^  $command .*JOB\.lua"; then
		mapfile -t COMPREPLY < <(compgen -W "wordcount dedup" -- "$current"
			compgen -f -X '!*.lua' -- "$current"
			compgen -d -S / -- "$current")
	fi
}

complete -o filenames -F _tidemark tidemark
