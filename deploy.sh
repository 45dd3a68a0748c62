#!/usr/bin/env bash
# Sets up relance on Azure, releases it and takes a release back. docs/azure.md tells the whole way.
#
# usage: ./deploy.sh [OPTION...]           build, try out in the staging slot, swap, watch
#        ./deploy.sh --infra [OPTION...]   set up or update the resources (infra/azure)
#        ./deploy.sh --what-if [OPTION...] show what --infra would change
#        ./deploy.sh --rollback [OPTION...] swap back to the release before
#
#   --environment dev|prod   which one (dev)
#   --resource-group NAME    its resource group (relance-ENVIRONMENT)
#   --location REGION        where --infra makes a resource group that is not there (westeurope)
#   --tag TAG                release this image of the registry instead of building one
#   --remote-build           build in the registry instead of with Docker
#   --yes                    ask nothing
#   --help                   this text
#
# Environment: API_PASSWORD, API_KEYS, ALERT_EMAIL and DEPLOYER_PRINCIPAL_ID for --infra; SMOKE_API_KEY, a key of the
# API for the trial request (else the password in the key vault is used); READY_SECONDS (600), WATCH_SECONDS (300),
# POLL_SECONDS (5) and MAX_ERROR_PERCENT (5) for a release.
#
# Exit status: 0 done; 1 failed, and production runs what it ran before; 2 wrong usage; 3 failed, and production has
# to be looked at.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

action=release environment=dev group='' location=westeurope tag='' remote=false yes=false
ready_seconds=${READY_SECONDS:-600} watch_seconds=${WATCH_SECONDS:-300} poll_seconds=${POLL_SECONDS:-5}
max_error_percent=${MAX_ERROR_PERCENT:-5}
# How far a release has come: nothing, staging (the slot has the new image) or swap (production may have it).
stage=nothing
work=

say() { echo "deploy: $*"; }
complain() { echo "deploy: $*" >&2; }
die() {
  complain "$*"
  exit 1
}

usage() { sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

wrong() {
  complain "$*; see ./deploy.sh --help"
  exit 2
}

options() {
  local actions=()
  while (($#)); do
    case $1 in
      --infra | --what-if | --rollback) actions+=("${1#--}") ;;
      --remote-build) remote=true ;;
      --yes) yes=true ;;
      --help)
        usage
        exit 0
        ;;
      --environment | --resource-group | --location | --tag)
        (($# > 1)) || wrong "$1 needs a value"
        case $1 in
          --environment) environment=$2 ;;
          --resource-group) group=$2 ;;
          --location) location=$2 ;;
          --tag) tag=$2 ;;
        esac
        shift
        ;;
      *) wrong "there is no option $1" ;;
    esac
    shift
  done
  ((${#actions[@]} < 2)) || wrong "one of ${actions[*]} at a time"
  action=${actions[0]:-release}
  [[ $environment == dev || $environment == prod ]] || wrong "the environment is dev or prod, not $environment"
  [[ -z $tag || $tag =~ ^[0-9]{14}-[0-9a-f]{7,40}$ ]] || wrong "a tag is YYYYMMDDHHMMSS-COMMIT, not $tag"
  group=${group:-relance-$environment}
}

needs() { # COMMAND...
  local command
  for command in "$@"; do
    command -v "$command" >/dev/null || die "$command is needed and not installed"
  done
}

confirm() { # WHAT
  [[ $yes == false ]] || return 0
  [[ -t 0 ]] || die "this is no terminal to ask at; add --yes to $1"
  local answer
  read -r -p "deploy: $1? [y/N] " answer
  [[ $answer == [yY]* ]] || die "not done"
}

azure() { az "$@" --only-show-errors; }

signed_in() {
  subscription=$(azure account show --query name --output tsv) || die "sign in first: az login"
}

# Resources are found by their tag and type, so that it does not matter how they came to be.
find_resources() {
  local type name
  site='' registry='' vault=''
  while IFS=$'\t' read -r type name; do
    case ${type,,} in
      microsoft.web/sites) site=$name ;;
      microsoft.containerregistry/registries) registry=$name ;;
      microsoft.keyvault/vaults) vault=$name ;;
    esac
  done < <(azure resource list --resource-group "$group" \
    --query "[?tags.application=='relance'].[type, name]" --output tsv 2>/dev/null || true)
}

image_of() { # SLOT: prints its image, without the DOCKER| before it
  local slot=() image
  [[ $1 == production ]] || slot=(--slot "$1")
  image=$(azure webapp config show --resource-group "$group" --name "$site" "${slot[@]}" \
    --query linuxFxVersion --output tsv) || return 1
  echo "${image#*|}"
}

host_of() { # SLOT
  local slot=()
  [[ $1 == production ]] || slot=(--slot "$1")
  azure webapp show --resource-group "$group" --name "$site" "${slot[@]}" --query defaultHostName --output tsv
}

set_staging() { # IMAGE
  azure webapp config set --resource-group "$group" --name "$site" --slot staging \
    --linux-fx-version "DOCKER|$1" --output none
}

swap() {
  azure webapp deployment slot swap --resource-group "$group" --name "$site" --slot staging \
    --target-slot production --output none
}

setting_of() { # NAME: prints the value of an app setting; not for secrets
  azure webapp config appsettings list --resource-group "$group" --name "$site" \
    --query "[?name=='$1'].value | [0]" --output tsv
}

instances() { # prints how many autoscale has started
  local plan
  plan=$(azure webapp show --resource-group "$group" --name "$site" --query appServicePlanId --output tsv) || return 1
  azure appservice plan show --ids "$plan" --query sku.capacity --output tsv
}

release_at() { # HOST: prints the release that is ready there
  local answer
  answer=$(curl --silent --fail --max-time 10 "https://$1/health/ready") || return 1
  sed -n 's/.*"release": *"\([^"]*\)".*/\1/p' <<<"$answer"
}

wait_for() { # HOST RELEASE
  local found end=$((SECONDS + ready_seconds))
  while ((SECONDS < end)); do
    found=$(release_at "$1" || true)
    [[ $found != "$2" ]] || return 0
    sleep "$poll_seconds"
  done
  complain "https://$1/health/ready did not answer with release $2 within $ready_seconds s (last: ${found:-not ready})"
  return 1
}

# For curl --config, so that no secret is an argument that others on this computer can see.
credentials() {
  local user password
  if [[ -n ${SMOKE_API_KEY:-} ]]; then
    printf 'header = "X-API-Key: %s"\n' "$SMOKE_API_KEY"
    return
  fi
  user=$(setting_of API_USERNAME) || return 1
  password=$(azure keyvault secret show --vault-name "$vault" --name api-password --query value --output tsv) || return 1
  password=${password//\\/\\\\}
  printf 'user = "%s:%s"\n' "$user" "${password//\"/\\\"}"
}

smoke_test() { # HOST
  local config status answer id
  config=$(credentials) || { complain "no credentials for the trial request: set SMOKE_API_KEY" && return 1; }
  status=$(curl --silent --show-error --config - --max-time 30 --retry 2 --output "$work/answer" \
    --write-out '%{http_code}' --form image=@models/samples/aberta-1.jpg "https://$1/predict" <<<"$config") || return 1
  answer=$(<"$work/answer")
  if [[ $status != 200 || $answer != *'"prediction":"'?* ]]; then
    complain "POST /predict in the staging slot answered $status: ${answer:0:300}"
    return 1
  fi
  # The trial leaves nothing behind. It may have to wait for the record to reach the store, so it is no reason to fail.
  id=$(sed -n 's/.*"request_id": *"\([^"]*\)".*/\1/p' <<<"$answer")
  curl --silent --fail --config - --max-time 30 --request DELETE --output /dev/null \
    "https://$1/requests/$id" <<<"$config" || complain "the record $id of the trial request could not be removed"
}

too_many_errors() { # SINCE: whether App Service has counted more 5xx than allowed
  local metrics
  metrics=$(azure monitor metrics list --resource "$site_id" --metrics Requests Http5xx --aggregation Total \
    --interval PT1M --start-time "$1" --query 'value[].[name.value, sum(timeseries[].data[].total)]' --output tsv) || {
    complain "the error rate cannot be read; going by /health/ready alone"
    return 1
  }
  awk -v limit="$max_error_percent" '
    $1 == "Requests" { requests = $2 }
    $1 == "Http5xx" { failed = $2 }
    END { if (requests >= 20 && failed * 100 > limit * requests) { printf "%d of %d", failed, requests; exit 0 } exit 1 }
  ' <<<"$metrics"
}

watch_release() { # HOST RELEASE
  local failures=0 errors since asked=0 end=$((SECONDS + watch_seconds))
  since=$(date -u +%Y-%m-%dT%H:%M:%SZ)
  while ((SECONDS < end)); do
    if [[ $(release_at "$1" || true) == "$2" ]]; then
      failures=0
    elif ((++failures >= 3)); then
      complain "production is not ready with release $2"
      return 1
    fi
    # Metrics come once a minute, and late.
    if ((SECONDS - asked >= 30)); then
      asked=$SECONDS
      if errors=$(too_many_errors "$since"); then
        complain "$errors requests failed since the swap"
        return 1
      fi
    fi
    sleep "$poll_seconds"
  done
  if errors=$(too_many_errors "$since"); then
    complain "$errors requests failed since the swap"
    return 1
  fi
}

# Whatever ends a release early, also Ctrl-C, leaves both slots as they were.
undo() {
  local status=$?
  trap - EXIT INT TERM
  set +e
  [[ -z $work ]] || rm -rf "$work"
  case $stage in
    nothing) ;;
    staging)
      complain "production was not touched and runs ${production_before##*/}"
      restore_staging
      ((status)) || status=1
      ;;
    swap)
      undo_swap
      status=$?
      ;;
  esac
  exit "$status"
}

restore_staging() {
  if set_staging "$staging_before"; then
    complain "the staging slot has its image back: ${staging_before##*/}"
  else
    complain "the staging slot still has ${image##*/}; before it had ${staging_before##*/}"
  fi
}

undo_swap() {
  local now
  if ! now=$(image_of production); then
    complain "it cannot be told which release production runs; look, then run ./deploy.sh --rollback if it is $tag"
    return 3
  fi
  if [[ $now == "$image" ]]; then
    complain "taking release $tag back"
    if ! swap; then
      complain "PRODUCTION STILL RUNS RELEASE $tag: the swap back failed; try ./deploy.sh --rollback"
      return 3
    fi
  fi
  restore_staging
  if [[ $production_before != */relance:* ]]; then
    complain "this was the first release; production serves nothing, as before"
    return 1
  fi
  if ! wait_for "$production_host" "${production_before##*:}"; then
    complain "PRODUCTION HAS ITS IMAGE BACK BUT IS NOT READY: ${production_before##*/}"
    return 3
  fi
  complain "production runs ${production_before##*/}, as before"
  return 1
}

build() {
  [[ -z $(git status --porcelain) ]] || die "there are changes that are not committed, and a tag names a commit"
  tag=$(date -u +%Y%m%d%H%M%S)-$(git rev-parse --short HEAD)
  image=$server/relance:$tag
  say "building $tag"
  if [[ $remote == true ]]; then
    azure acr build --registry "$registry" --image "relance:$tag" --build-arg "RELEASE=$tag" --platform linux/amd64 . ||
      die "the registry could not build the image; nothing else was touched"
    return
  fi
  needs docker
  docker build --platform linux/amd64 --build-arg "RELEASE=$tag" --tag "$image" . ||
    die "the image could not be built; nothing else was touched"
  azure acr login --name "$registry" || die "cannot sign in to the registry $registry; nothing else was touched"
  docker push "$image" || die "the image could not be pushed; nothing else was touched"
}

slots() {
  find_resources
  [[ -n $site && -n $registry ]] ||
    die "there is no relance in the resource group $group; set it up: ./deploy.sh --infra --environment $environment"
  production_before=$(image_of production) || die "cannot read what production runs"
  staging_before=$(image_of staging) || die "cannot read what the staging slot runs"
  production_host=$(host_of production) || die "cannot read the host name of production"
  staging_host=$(host_of staging) || die "cannot read the host name of the staging slot"
}

release() {
  needs az curl git awk
  signed_in
  slots
  server=$(azure acr show --name "$registry" --query loginServer --output tsv) || die "cannot read the registry"
  site_id=$(azure webapp show --resource-group "$group" --name "$site" --query id --output tsv) || die "cannot read the web app"
  confirm "release ${tag:-this commit} to $environment ($group in $subscription)"
  if [[ -z $tag ]]; then
    build
  else
    image=$server/relance:$tag
    azure acr repository show --name "$registry" --image "relance:$tag" --output none || die "the registry has no relance:$tag"
  fi
  if [[ $production_before == "$image" ]]; then
    say "production already runs $tag"
    return
  fi

  work=$(mktemp -d)
  trap undo EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  say "putting $tag into the staging slot; production runs ${production_before##*/}"
  stage=staging
  set_staging "$image" || die "the staging slot does not take the image"
  wait_for "$staging_host" "$tag" || die "release $tag does not become ready in the staging slot"
  smoke_test "$staging_host" || die "release $tag does not classify a picture"

  say "swapping"
  stage=swap
  swap || die "the swap failed"
  wait_for "$production_host" "$tag" || die "production does not answer with release $tag"
  say "watching for $watch_seconds s"
  watch_release "$production_host" "$tag" || die "release $tag does not do well"
  stage=nothing
  say "released $tag: https://$production_host (before: ${production_before##*/}, kept in the staging slot)"
}

rollback() {
  needs az curl
  signed_in
  slots
  local before=${staging_before##*:} now=${production_before##*:}
  [[ $(release_at "$staging_host" || true) == "$before" ]] ||
    die "the staging slot is not ready with $before, so there is nothing to go back to; release one: ./deploy.sh --tag TAG"
  confirm "swap $environment from $now to $before"
  swap || die "the swap failed; ask which image production has: az webapp config show --resource-group $group --name $site"
  wait_for "$production_host" "$before" || {
    complain "PRODUCTION WAS SWAPPED BUT IS NOT READY WITH $before"
    exit 3
  }
  say "production runs $before; $now is in the staging slot"
}

# Everything reaches the .bicepparam file through the environment: arguments can be seen by others on this computer.
infra() {
  needs az
  signed_in
  find_resources
  export RELANCE_IMAGE='' RELANCE_STAGING_IMAGE='' RELANCE_INSTANCES=0 API_KEYS_IN_VAULT=false BUDGET_START_DATE
  if [[ -n $site ]]; then
    # What runs goes on running.
    RELANCE_IMAGE=$(image_of production) || die "cannot read what production runs"
    RELANCE_STAGING_IMAGE=$(image_of staging) || die "cannot read what the staging slot runs"
    RELANCE_INSTANCES=$(instances) || die "cannot read how many instances run"
    [[ -z $(setting_of API_KEYS) ]] || API_KEYS_IN_VAULT=true
  elif [[ -z ${API_PASSWORD:-} && $action == infra ]]; then
    API_PASSWORD=$(head -c 24 /dev/urandom | base64 | tr '+/' '-_')
    export API_PASSWORD
    say "a password for the API was made; it is in the key vault as api-password"
  fi
  # The first month of a budget cannot be changed.
  BUDGET_START_DATE=$(azure rest --url "/subscriptions/{subscriptionId}/resourceGroups/$group/providers/Microsoft.Consumption/budgets/relance-$environment-budget?api-version=2023-11-01" \
    --query properties.timePeriod.startDate --output tsv 2>/dev/null || true)
  BUDGET_START_DATE=${BUDGET_START_DATE:0:10}
  if [[ -z ${DEPLOYER_PRINCIPAL_ID:-} && $(azure account show --query user.type --output tsv) == user ]]; then
    DEPLOYER_PRINCIPAL_ID=$(azure ad signed-in-user show --query id --output tsv) || DEPLOYER_PRINCIPAL_ID=''
    export DEPLOYER_PRINCIPAL_ID
  fi

  local deployment=(--resource-group "$group" --name relance --parameters "infra/azure/$environment.bicepparam")
  if [[ $action == what-if ]]; then
    [[ $(azure group exists --name "$group") == true ]] || die "there is no resource group $group yet: everything would be new"
    azure deployment group what-if "${deployment[@]}"
    return
  fi
  confirm "set up $environment in $group ($subscription)"
  if [[ $(azure group exists --name "$group") != true ]]; then
    azure group create --name "$group" --location "$location" --output none || die "cannot make the resource group $group"
  fi
  say "setting up $group; the first time takes a quarter of an hour or more"
  azure deployment group create "${deployment[@]}" --output none ||
    die "the deployment failed; what is there stays, and it can be run again"
  find_resources
  say "https://$(host_of production) is set up; release to it: ./deploy.sh --environment $environment"
}

options "$@"
case $action in
  infra | what-if) infra ;;
  rollback) rollback ;;
  release) release ;;
esac
