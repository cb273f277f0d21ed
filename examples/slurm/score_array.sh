#!/bin/bash
#SBATCH --job-name=score
#SBATCH --array=1-8
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --requeue
# Score the HATS catalog sky/ into sky.scored/, an eighth of its partitions in each task.
#
#     targetsel partition catalog.parquet -o sky
#     sbatch score_array.sh
#
# All tasks write into the same folder, which all machines must see. A task that is stopped goes on
# when it is submitted again; the last one to end makes the folder a HATS catalog. With other numbers
# behind --array, no line below changes.
set -eu
targetsel score sky --cutouts cutouts -o sky.scored \
    --shard "${SLURM_ARRAY_TASK_ID}/${SLURM_ARRAY_TASK_COUNT}" \
    --workers "${SLURM_CPUS_PER_TASK:-1}" --time-limit 2h
