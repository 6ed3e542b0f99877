// OHIF's app-config.js for Thorax behind the same host: /dicomweb/ leads to Thorax (docs/how-to/show-studies-in-ohif.md).
window.config = {
  routerBasename: "/",
  extensions: [],
  modes: [],
  showStudyList: true,
  showWarningMessageForCrossOrigin: false,
  showCPUFallbackMessage: false,
  showLoadingIndicator: true,
  strictZSpacingForVolumeViewport: true,
  studyPrefetcher: { enabled: false },
  defaultDataSourceName: "thorax",
  customizationService: [
    {
      // OHIF 3.13 opens no report in which a measurement group has no region, as those of an unlikely finding.
      onBeforeSRAddMeasurement: {
        $set: ({ measurement }) => {
          if (measurement.coords.length === 0) measurement.coords.push({});
          return measurement;
        },
      },
    },
  ],
  dataSources: [
    {
      namespace: "@ohif/extension-default.dataSourcesModule.dicomweb",
      sourceName: "thorax",
      configuration: {
        friendlyName: "Thorax",
        name: "thorax",
        qidoRoot: "/dicomweb",
        wadoRoot: "/dicomweb",
        wadoUriRoot: "/dicomweb",
        qidoSupportsIncludeField: false,
        supportsReject: false,
        supportsStow: false,
        supportsFuzzyMatching: false,
        supportsWildcard: false,
        imageRendering: "wadors",
        thumbnailRendering: "wadors",
        enableStudyLazyLoad: true,
        dicomUploadEnabled: false,
        singlepart: "bulkdata",
        bulkDataURI: { enabled: true, relativeResolution: "studies" },
      },
    },
  ],
};
