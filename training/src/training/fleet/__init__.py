"""All five networks in one run: ten minutes on one H100, or as long as it takes on a CPU, resumably."""
